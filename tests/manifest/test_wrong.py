"""A table of what can be wrong, each with the exact words and the exact place."""

from __future__ import annotations

import pytest

from tests.manifest.conftest import Folder

V = "version: 1\n"
OR_SAY = ". Or give its source an encoding, such as encoding: cp1252"
ITEM = "items:\n  - {id: a, image: in/a.png, prompt: pp}\n"
ROW = "items:\n  - {id: a, image: in/a.png, prompt: pp, "

YAML: dict[str, tuple[str, list[str]]] = {
    "empty": (
        "",
        [
            "m.yaml:1:1: the key version is missing. Begin with: version: 1",
            "m.yaml:1:1: there are neither items nor sources",
        ],
    ),
    "a list": (
        "- a\n",
        [
            "m.yaml:1:1: the manifest must be a mapping of keys and values, not a list",
        ],
    ),
    "text": (
        "hello\n",
        [
            "m.yaml:1:1: the manifest must be a mapping of keys and values, not text",
        ],
    ),
    "no version": (
        ITEM,
        [
            "m.yaml:1:1: the key version is missing. Begin with: version: 1",
        ],
    ),
    "newer": (
        "version: 2\n" + ITEM,
        [
            "m.yaml:1:10: \"version\": '2' needs a newer batchedit; this one reads version 1",
        ],
    ),
    "no number": (
        "version: one\n" + ITEM,
        [
            "m.yaml:1:10: \"version\": 'one' is not a version; this one reads version 1",
        ],
    ),
    "version list": (
        "version: [1]\n" + ITEM,
        [
            'm.yaml:1:10: "version": must be text, not a list',
        ],
    ),
    "input root url": (
        V + "input_roots: ['https://a.test/b']\n" + ITEM,
        [
            'm.yaml:2:15: "input_roots": must be a folder such as ../photos',
        ],
    ),
    "input root list": (
        V + "input_roots: [[in]]\n" + ITEM,
        [
            'm.yaml:2:15: "input_roots": must be text, not a list',
        ],
    ),
    "outside": (
        V + "items:\n  - {id: a, image: /etc/hostname, prompt: pp}\n",
        [
            'm.yaml:3:20: "image": /etc/hostname lies outside of the folders that rows may name files in. If that is'
            " right, write into the head of the manifest: input_roots: [/etc]",
        ],
    ),
    "unknown key": (
        V + "edit: {}\n" + ITEM,
        [
            'm.yaml:2:1: "edit": the manifest has no key \'edit\'. Did you mean "edits"?',
        ],
    ),
    "later key": (
        V + "notices: {}\n" + ITEM,
        [
            (
                "m.yaml:2:1: \"notices\": the manifest has no key 'notices'. Known are: version, name,"
                " provider, defaults, prompts, edits, sources, input_roots, items, budget, prices, limits, review, selectors"
            ),
        ],
    ),
    "selectors": (
        V
        + "selectors:\n  a: status:fialed\n  b: [x, 'line:z', '@c']\n  d: '@d'\n  e: []\n  'f g': x\n  h: {}\n"
        + ITEM,
        [
            (
                "m.yaml:3:6: \"selectors.a\": 'status:fialed', character 8: there is no status 'fialed'."
                " Did you mean 'failed'?"
            ),
            "m.yaml:4:10: \"selectors.b\": 'line:z', character 6: 'z' is no range of lines. Such as: line:120-180",
            (
                "m.yaml:4:20: \"selectors.b\": '@c', character 1: the manifest has no selector 'c'."
                " Known are: @a, @b, @d, @e, @h"
            ),
            "m.yaml:5:6: \"selectors.d\": '@d', character 1: the selector @d contains itself",
            'm.yaml:6:6: "selectors.e": selects nothing',
            "m.yaml:7:3: 'f g' is no name for a selector: letters, digits, dots, hyphens and underscores",
            'm.yaml:8:6: "selectors.h": selectors.h must be a list, not a mapping',
        ],
    ),
    "review": (
        V
        + "review:\n  reasons:\n    'b c': x\n    halo: {}\n    edge: "
        + "e" * 201
        + "\n  checklist: [a, [b]]\n  blind: maybe\n  blnd: true\n"
        + ITEM,
        [
            "m.yaml:4:5: 'b c' is no name for a reason: letters, digits, dots, hyphens and underscores",
            'm.yaml:5:11: "review.reasons.halo": must be text, not a mapping',
            'm.yaml:6:11: "review.reasons.edge": has 201 characters; at most 200 fit beside a picture',
            'm.yaml:7:18: "review.checklist": must be text, not a list',
            "m.yaml:8:10: \"review.blind\": 'maybe' is neither true nor false",
            'm.yaml:9:3: "blnd": review has no key \'blnd\'. Did you mean "blind"?',
        ],
    ),
    "review of too much": (
        V
        + "review:\n  reasons: {a: '', b: '', c: '', d: '', e: '', f: '', g: '', h: '', i: '', j: ''}\n  checklist: ["
        + ", ".join("c" for _ in range(31))
        + "]\n"
        + ITEM,
        [
            'm.yaml:3:76: "review.reasons": there is a key for 9 reasons, and this is one more',
            'm.yaml:4:14: "review.checklist": has 31 lines; at most 30 fit beside a picture',
        ],
    ),
    "selectors list": (
        V + "selectors: [a]\n" + ITEM,
        [
            "m.yaml:2:12: selectors must be a mapping of keys and values, not a list",
        ],
    ),
    "duplicate key": (
        V + "name: a\nname: b\n" + ITEM,
        [
            "m.yaml:3:1: the key 'name' is already given in line 2",
        ],
    ),
    "duplicate deep": (
        V + "items:\n  - id: a\n    id: b\n",
        [
            "m.yaml:4:5: the key 'id' is already given in line 3",
        ],
    ),
    "no rows": (
        "version: 1\n",
        [
            "m.yaml:1:1: there are neither items nor sources",
        ],
    ),
    "items mapping": (
        V + "items: {a: b}\n",
        [
            'm.yaml:2:8: "items": items must be a list, not a mapping',
        ],
    ),
    "items text": (
        V + "items: x\n",
        [
            'm.yaml:2:8: "items": items must be a list, not text',
        ],
    ),
    "item text": (
        V + "items: [x]\n",
        [
            "m.yaml:2:9: the item must be a mapping of keys and values, not text",
        ],
    ),
    "item empty": (
        V + "items:\n  -\n",
        [
            "m.yaml:3:4: the item is empty",
        ],
    ),
    "sources text": (
        V + "sources: x\n",
        [
            'm.yaml:2:10: "sources": sources must be a list, not text',
        ],
    ),
    "source text": (
        V + "sources: [x]\n",
        [
            "m.yaml:2:11: the source must be a mapping of keys and values, not text",
        ],
    ),
    "open bracket": (
        V + "items: [a, b\n",
        [
            "m.yaml:2:9: the item must be a mapping of keys and values, not text (2 rows, first shown)",
            "m.yaml:3:1: is not valid YAML: while parsing a flow sequence did not find expected ',' or ']'",
        ],
    ),
    "tab": (
        V + "items:\n\t- a\n",
        [
            (
                "m.yaml:3:1: is not valid YAML: while scanning for the next token found character that"
                " cannot start any token"
            ),
        ],
    ),
    "open quote": (
        V + "name: 'x\n" + ITEM,
        [
            "m.yaml:5:1: is not valid YAML: while scanning a quoted scalar found unexpected end of stream",
        ],
    ),
    "control character": (
        V + "name: a\x01b\n" + ITEM,
        [
            "m.yaml:2:8: holds a character that YAML does not allow. Take the control character out",
        ],
    ),
    "alias of nothing": (
        V + "name: *nom\nx: 1\n" + ITEM,
        [
            "m.yaml:2:7: there is no anchor 'nom' above",
        ],
    ),
    "alias of nearly nothing": (
        V + "defaults: {prompt: &white on white, quality: &low low}\nname: *whte\n" + ITEM,
        [
            "m.yaml:3:7: there is no anchor 'whte' above. Did you mean \"white\"?",
        ],
    ),
    "alias within itself": (
        V + "defaults: {labels: &l {a: *l}}\n" + ITEM,
        [
            "m.yaml:2:27: the alias 'l' stands within the value that it stands for",
        ],
    ),
    "anchor of all": (
        "&all\n" + V + ITEM,
        [
            "m.yaml:1:1: there can be no anchor here. Put it before a value",
        ],
    ),
    "anchor of a key": (
        V + "&k name: x\n" + ITEM,
        [
            "m.yaml:2:1: there can be no anchor here. Put it before a value",
        ],
    ),
    "alias for a key": (
        V + "name: &n x\n*n : y\n" + ITEM,
        [
            "m.yaml:3:1: a key must be plain text",
        ],
    ),
    "alias for the rows": (
        V + "prompts: &rows []\nitems: *rows\n",
        [
            "m.yaml:3:8: the rows of items must be written here",
        ],
    ),
    "merge key": (
        V + "defaults: &d {prompt: pp}\nedits:\n  e:\n    <<: *d\n" + ITEM,
        [
            (
                "m.yaml:5:5: merge keys (<<) are not supported. Put what is shared into defaults, or name a whole value:"
                " labels: &shared {...}, labels: *shared"
            ),
        ],
    ),
    "alias deep": (
        V + "x: &a " + 30 * "[" + 30 * "]" + "\nname: " + 25 * "[" + "*a" + 25 * "]" + "\n" + ITEM,
        [
            "m.yaml:3:32: is nested deeper than 50 levels",
        ],
    ),
    "the same item twice": (
        V + "items:\n  - &one {id: a, image: in/a.png, prompt: pp}\n  - *one\n",
        [
            "m.yaml:4:5: \"id\": the id 'a' is already that of m.yaml:3:5",
        ],
    ),
    "a mistake in what is shared": (
        V + "edits:\n  e: {labels: &l [a]}\n  f: {labels: *l}\n" + ITEM,
        [
            "m.yaml:3:15: labels must be a mapping of keys and values, not a list (2 rows, first shown)",
        ],
    ),
    "tag": (
        V + "name: !!python/object:os.system x\n" + ITEM,
        [
            "m.yaml:2:7: the tag tag:yaml.org,2002:python/object:os.system is not supported",
        ],
    ),
    "own tag": (
        V + "name: !include x\n" + ITEM,
        [
            "m.yaml:2:7: the tag !include is not supported",
        ],
    ),
    "list as key": (
        V + "? [a]\n: b\n" + ITEM,
        [
            "m.yaml:2:3: a key must be plain text",
        ],
    ),
    "two documents": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: pp}\n---\nversion: 1\n",
        [
            "m.yaml:4:1: holds more than one YAML document",
        ],
    ),
    "name list": (
        V + "name: [a]\n" + ITEM,
        [
            'm.yaml:2:7: "name": must be text, not a list',
        ],
    ),
    "name empty": (
        V + "name: ''\n" + ITEM,
        [
            'm.yaml:2:7: "name": a name has 1 to 200 printable characters',
        ],
    ),
    "provider list": (
        V + "provider: [a]\n" + ITEM,
        [
            "m.yaml:2:11: provider must be a mapping of keys and values, not a list",
        ],
    ),
    "provider key": (
        V + "provider: {api_key: x}\n" + ITEM,
        [
            (
                "m.yaml:2:12: \"api_key\": provider has no key 'api_key'. Known are: name, api, model,"
                " base_url, organization, images_as, size_as, storage, keep_metadata, on_unknown"
            ),
        ],
    ),
    "api": (
        V + "provider: {api: rums}\n" + ITEM,
        [
            'm.yaml:2:17: "provider.api": \'rums\' is not one of runs, run. Did you mean "runs"?',
        ],
    ),
    "images_as": (
        V + "provider: {images_as: url}\n" + ITEM,
        [
            "m.yaml:2:23: \"provider.images_as\": 'url' is not one of asset, signed-url, data-uri",
        ],
    ),
    "base_url http": (
        V + "provider: {base_url: 'http://api.test'}\n" + ITEM,
        [
            (
                "m.yaml:2:22: \"provider.base_url\": 'http://api.test' must be an https address (http is"
                " for this machine only)"
            ),
        ],
    ),
    "base_url user": (
        V + "provider: {base_url: 'https://u:pw@api.test'}\n" + ITEM,
        [
            'm.yaml:2:22: "provider.base_url": the address holds a user name or a password',
        ],
    ),
    "base_url query": (
        V + "provider: {base_url: 'https://api.test/?a=b'}\n" + ITEM,
        [
            (
                "m.yaml:2:22: \"provider.base_url\": 'https://api.test/?a=b' must be a plain address such"
                " as https://api.example.com"
            ),
        ],
    ),
    "base_url loopback lookalike": (
        V + "provider: {base_url: 'http://127.0.0.1.evil.test'}\n" + ITEM,
        [
            (
                "m.yaml:2:22: \"provider.base_url\": 'http://127.0.0.1.evil.test' must be an https address"
                " (http is for this machine only)"
            ),
        ],
    ),
    "model": (
        V + "provider: {model: ../../admin}\n" + ITEM,
        [
            "m.yaml:2:19: \"provider.model\": '../../admin' is not a model id such as openai/gpt-image-2/edit",
        ],
    ),
    "organization": (
        V + 'provider: {organization: "a\\r\\nX: y"}\n' + ITEM,
        [
            "m.yaml:2:26: \"provider.organization\": 'a\\r\\nX: y' must be one word without spaces",
        ],
    ),
    "limit unknown": (
        V + "limits: {rmp: 3}\n" + ITEM,
        [
            (
                "m.yaml:2:10: \"rmp\": limits has no key 'rmp'. Known are: rpm, ipm, calls, concurrency,"
                " attempts, timeout, deadline, poll, list_lag, max_fail, jobs, verify"
            ),
        ],
    ),
    "limit verify": (
        V + "limits: {verify: structural}\n" + ITEM,
        [
            ('m.yaml:2:18: "limits.verify": \'structural\' is not one of full, structure. Did you mean "structure"?'),
        ],
    ),
    "limit text": (
        V + "limits: {rpm: fast}\n" + ITEM,
        [
            "m.yaml:2:15: \"limits.rpm\": 'fast' is not a positive number, auto or none",
        ],
    ),
    "limit zero": (
        V + "limits: {concurrency: 0}\n" + ITEM,
        [
            "m.yaml:2:23: \"limits.concurrency\": '0' is not a positive number",
        ],
    ),
    "limit fraction": (
        V + "limits: {attempts: 2.5}\n" + ITEM,
        [
            "m.yaml:2:20: \"limits.attempts\": '2.5' is not a positive whole number",
        ],
    ),
    "limit negative": (
        V + "limits: {timeout: -1}\n" + ITEM,
        [
            "m.yaml:2:19: \"limits.timeout\": '-1' is not a positive number",
        ],
    ),
    "limit nan": (
        V + "limits: {timeout: .nan}\n" + ITEM,
        [
            "m.yaml:2:19: \"limits.timeout\": '.nan' is not a positive number",
        ],
    ),
    "limit empty": (
        V + "limits: {rpm: }\n" + ITEM,
        [
            "m.yaml:2:15: \"limits.rpm\": '' is not a positive number, auto or none",
        ],
    ),
    "budget text": (
        V + "budget: 25\n" + ITEM,
        [
            "m.yaml:2:9: budget must be a mapping of keys and values, not text. Write: budget: {run: 25.00}",
        ],
    ),
    "budget words": (
        V + "budget: {run: lots}\n" + ITEM,
        [
            "m.yaml:2:15: \"budget.run\": 'lots' is not an amount in dollars",
        ],
    ),
    "budget negative": (
        V + "budget: {run: -3}\n" + ITEM,
        [
            "m.yaml:2:15: \"budget.run\": '-3' is not an amount in dollars of 0 or more",
        ],
    ),
    "budget nan": (
        V + "budget: {run: NaN}\n" + ITEM,
        [
            "m.yaml:2:15: \"budget.run\": 'NaN' is not an amount in dollars of 0 or more",
        ],
    ),
    "budget infinite": (
        V + "budget: {run: inf}\n" + ITEM,
        [
            "m.yaml:2:15: \"budget.run\": 'inf' is not an amount in dollars of 0 or more",
        ],
    ),
    "budget key": (
        V + "budget: {per_reqest: 1}\n" + ITEM,
        [
            'm.yaml:2:10: "per_reqest": budget has no key \'per_reqest\'. Did you mean "per_request"?',
        ],
    ),
    "budget empty": (
        V + "budget: {run: }\n" + ITEM,
        [
            "m.yaml:2:15: \"budget.run\": '' is not an amount in dollars",
        ],
    ),
    "prompt file gone": (
        V + "prompts: {p: {file: gone.txt}}\n" + ITEM,
        [
            'm.yaml:2:21: "file": ROOT/gone.txt: No such file or directory',
        ],
    ),
    "prompt without file": (
        V + "prompts: {p: {}}\n" + ITEM,
        [
            "m.yaml:2:14: the prompt is a text, or names its file",
        ],
    ),
    "prompt key": (
        V + "prompts: {p: {fil: x}}\n" + ITEM,
        [
            'm.yaml:2:15: "fil": the prompt has no key \'fil\'. Did you mean "file"?',
        ],
    ),
    "prompt empty": (
        V + "prompts: {p: }\n" + ITEM,
        [
            'm.yaml:2:14: "prompts.p": the prompt is empty',
        ],
    ),
    "prompt name": (
        V + "prompts: {'a b': x}\n" + ITEM,
        [
            "m.yaml:2:11: 'a b' is no name for a prompt: letters, digits, dots, hyphens and underscores",
        ],
    ),
    "edit name": (
        V + "edits: {'a/b': {}}\n" + ITEM,
        [
            "m.yaml:2:9: 'a/b' is no name for an edit: letters, digits, dots, hyphens and underscores",
        ],
    ),
    "edit field": (
        V + "edits: {e: {promt: x}}\n" + ITEM,
        [
            'm.yaml:2:13: "promt": the edit e has no key \'promt\'. Did you mean "prompt"?',
        ],
    ),
    "variant name": (
        V + "edits: {e: {variants: {'': {}}}}\n" + ITEM,
        [
            "m.yaml:2:24: '' is no name for a variant: letters, digits, dots, hyphens and underscores",
        ],
    ),
    "variant field": (
        V + "edits: {e: {variants: {v: {id: x}}}}\n" + ITEM,
        [
            (
                "m.yaml:2:28: \"id\": the variant v has no key 'id'. Known are: prompt, image, mask,"
                " references, quality, size, format, n, sync_mode, output, labels, tags, enabled, post, checks"
            ),
        ],
    ),
    "variants list": (
        V + "edits: {e: {variants: [a]}}\n" + ITEM,
        [
            "m.yaml:2:23: variants must be a mapping of keys and values, not a list",
        ],
    ),
    "edits list": (
        V + "edits: [a]\n" + ITEM,
        [
            "m.yaml:2:8: edits must be a mapping of keys and values, not a list",
        ],
    ),
    "later field": (
        V + "edits: {e: {priority: {}}}\n" + ITEM,
        [
            (
                "m.yaml:2:13: \"priority\": the edit e has no key 'priority'. Known are: prompt, image, mask,"
                " references, quality, size, format, n, sync_mode, output, labels, tags, enabled, post, checks, variants, matrix, exclude, from, when"
            ),
        ],
    ),
    "from nowhere": (
        V + "edits:\n  white: {}\n  scene: {from: whit}\n" + ITEM,
        [
            'm.yaml:4:17: "edits.scene.from": there is no edit \'whit\'. Did you mean "white"?',
        ],
    ),
    "from an edit of no likeness": (
        V + "edits:\n  white: {}\n  scene: {from: xyz}\n" + ITEM,
        [
            "m.yaml:4:17: \"edits.scene.from\": there is no edit 'xyz'. Known are: white",
        ],
    ),
    "from itself": (
        V + "edits:\n  scene: {from: scene}\n" + ITEM,
        [
            'm.yaml:3:17: "edits.scene.from": the edits start from each other: scene -> scene',
        ],
    ),
    "from in a circle": (
        V + "edits:\n  a: {from: c}\n  b: {from: a}\n  c: {from: b}\n  d: {from: b}\n" + ITEM,
        [
            'm.yaml:3:13: "edits.a.from": the edits start from each other: a -> c -> b -> a',
        ],
    ),
    "from nothing": (
        V + "edits:\n  white: {}\n  scene: {from: }\n" + ITEM,
        [
            'm.yaml:4:17: "edits.scene.from": from is empty. Name the edit that this one starts from',
        ],
    ),
    "from a list": (
        V + "edits:\n  white: {}\n  scene: {from: [white]}\n" + ITEM,
        [
            'm.yaml:4:17: "edits.scene.from": must be text, not a list',
        ],
    ),
    "from an edit with variants": (
        V + "edits:\n  white: {variants: {a: {}, b: {}}}\n  scene: {from: white}\n" + ITEM,
        [
            (
                "m.yaml:4:17: \"edits.scene.from\": the edit 'white' has variants: say which one."
                " Known are: white/a, white/b"
            ),
        ],
    ),
    "from a variant that is not there": (
        V + "edits:\n  white: {variants: {linen: {}, oak: {}}}\n  scene: {from: white/linnen}\n" + ITEM,
        [
            ("m.yaml:4:17: \"edits.scene.from\": the edit 'white' has no variant 'linnen'. Did you mean \"linen\"?"),
        ],
    ),
    "from a variant of an edit without": (
        V + "edits:\n  white: {}\n  scene: {from: white/a}\n" + ITEM,
        [
            "m.yaml:4:17: \"edits.scene.from\": the edit 'white' has no variants. Write: from: white",
        ],
    ),
    "when without from": (
        V + "edits:\n  scene: {when: approved}\n" + ITEM,
        [
            'm.yaml:3:11: "edits.scene.when": when goes with from. Name the edit that this one starts from',
        ],
    ),
    "when of no such word": (
        V + "edits:\n  white: {}\n  scene: {from: white, when: aproved}\n" + ITEM,
        [
            ('m.yaml:4:30: "edits.scene.when": \'aproved\' is not one of done, approved. Did you mean "approved"?'),
        ],
    ),
    "image and from": (
        V + "edits:\n  white: {}\n  scene: {from: white, image: in/b.png}\n" + ITEM,
        [
            (
                'm.yaml:4:31: "edits.scene.image": an edit starts from an image or from another edit, not from both.'
                " Take one of them out"
            ),
        ],
    ),
    "image in a variant and from": (
        V + "edits:\n  white: {}\n  scene: {from: white, variants: {v: {image: in/b.png}}}\n" + ITEM,
        [
            (
                'm.yaml:4:46: "edits.scene.image": an edit starts from an image or from another edit, not from both.'
                " Take one of them out"
            ),
        ],
    ),
    "matrix and variants": (
        V + "edits:\n  e: {matrix: {c: [a]}, variants: {v: {}}}\n" + ITEM,
        [
            'm.yaml:3:7: "edits.e.matrix": an edit has variants or a matrix, not both. Take one of them out',
        ],
    ),
    "matrix empty": (
        V + "edits:\n  e: {matrix: {}}\n" + ITEM,
        [
            'm.yaml:3:15: "edits.e.matrix": is empty. Write: matrix: {colour: [red, blue]}',
        ],
    ),
    "matrix nothing": (
        V + "edits:\n  e: {matrix: }\n" + ITEM,
        [
            'm.yaml:3:15: "edits.e.matrix": is empty. Write: matrix: {colour: [red, blue]}',
        ],
    ),
    "matrix list": (
        V + "edits:\n  e: {matrix: [a]}\n" + ITEM,
        [
            "m.yaml:3:15: edits.e.matrix must be a mapping of keys and values, not a list",
        ],
    ),
    "matrix of no list": (
        V + "edits:\n  e: {matrix: {c: red}}\n" + ITEM,
        [
            'm.yaml:3:19: "edits.e.matrix.c": must be a list of values. Write: c: [one, other]',
        ],
    ),
    "matrix of no values": (
        V + "edits:\n  e: {matrix: {c: []}}\n" + ITEM,
        [
            'm.yaml:3:19: "edits.e.matrix.c": must be a list of values. Write: c: [one, other]',
        ],
    ),
    "matrix value of nothing": (
        V + "edits:\n  e: {matrix: {c: [a, ~]}}\n" + ITEM,
        [
            'm.yaml:3:23: "edits.e.matrix.c": a value is empty',
        ],
    ),
    "matrix value of two": (
        V + "edits:\n  e: {matrix: {c: [a, [b]]}}\n" + ITEM,
        [
            'm.yaml:3:23: "edits.e.matrix.c": must be text, not a list',
        ],
    ),
    "matrix value twice": (
        V + "edits:\n  e: {matrix: {c: [a, b, a]}}\n" + ITEM,
        [
            "m.yaml:3:26: \"edits.e.matrix.c\": the value 'a' is given twice",
        ],
    ),
    "matrix value without a name": (
        V + "edits:\n  e: {matrix: {c: [a, '!!']}}\n" + ITEM,
        [
            "m.yaml:3:23: \"edits.e.matrix.c\": '!!' has no letter or digit to make a name of",
        ],
    ),
    "matrix name": (
        V + "edits:\n  e: {matrix: {a-b: [a]}}\n" + ITEM,
        [
            "m.yaml:3:16: \"edits.e.matrix\": 'a-b' is no name for a template. Use letters and underscores",
        ],
    ),
    "matrix name of ours": (
        V + "edits:\n  e: {matrix: {id: [a]}}\n" + ITEM,
        [
            "m.yaml:3:16: \"edits.e.matrix\": 'id' is a name of batchedit's own. Use letters and underscores",
        ],
    ),
    "matrix names that meet": (
        V + "edits:\n  e: {matrix: {c: [a-b, a], d: [c, b-c]}}\n" + ITEM,
        [
            "m.yaml:3:7: \"edits.e.matrix\": ('a-b', 'c') and ('a', 'b-c') would both be called a-b-c. Use variants, with names of yours",
        ],
    ),
    "matrix too large": (
        V
        + "edits:\n  e: {matrix: {a: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], b: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21], c: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]}}\n"
        + ITEM,
        [
            'm.yaml:3:7: "edits.e.matrix": has 10648 combinations; at most 10000 are allowed',
        ],
    ),
    "exclude alone": (
        V + "edits:\n  e: {exclude: [{c: a}]}\n" + ITEM,
        [
            'm.yaml:3:7: "edits.e.exclude": exclude goes with matrix',
        ],
    ),
    "exclude unknown name": (
        V + "edits:\n  e: {matrix: {c: [red, blue], d: [x, y]}, exclude: [{e: red}]}\n" + ITEM,
        [
            "m.yaml:3:55: \"edits.e.exclude\": the matrix has no 'e'. Known are: c, d",
        ],
    ),
    "exclude unknown value": (
        V + "edits:\n  e: {matrix: {c: [red, blue], d: [x, y]}, exclude: [{c: bleu}]}\n" + ITEM,
        [
            'm.yaml:3:58: "edits.e.exclude": the matrix has no c \'bleu\'. Did you mean "blue"?',
        ],
    ),
    "exclude twice": (
        V + "edits:\n  e: {matrix: {c: [red, blue], d: [x, y]}, exclude: [{c: red}, {c: red, d: x}]}\n" + ITEM,
        [
            'm.yaml:3:64: "edits.e.exclude": takes nothing away that an earlier entry has not',
        ],
    ),
    "exclude all": (
        V + "edits:\n  e: {matrix: {c: [red, blue], d: [x, y]}, exclude: [{c: red}, {c: blue}]}\n" + ITEM,
        [
            'm.yaml:3:44: "edits.e.exclude": leaves no combination',
        ],
    ),
    "exclude nothing": (
        V + "edits:\n  e: {matrix: {c: [red, blue], d: [x, y]}, exclude: [{}]}\n" + ITEM,
        [
            'm.yaml:3:54: "edits.e.exclude": an entry is empty. Name a value of: c, d',
        ],
    ),
    "exclude a mapping": (
        V + "edits:\n  e: {matrix: {c: [red, blue], d: [x, y]}, exclude: {c: red}}\n" + ITEM,
        [
            'm.yaml:3:53: "exclude": exclude must be a list, not a mapping',
        ],
    ),
    "too many tasks": (
        V + "limits: {jobs: 2}\nedits: {e: {matrix: {c: [x, y, z]}}}\n" + ITEM,
        [
            (
                'm.yaml:5:5: "limits.jobs": the manifest makes more than 2 tasks. If that is meant, allow it in the'
                " manifest, or in the defaults beside a table: limits: {jobs: 20}"
            ),
        ],
    ),
    "jobs of no number": (
        V + "limits: {jobs: many}\n" + ITEM,
        [
            "m.yaml:2:16: \"limits.jobs\": 'many' is not a positive number",
        ],
    ),
    "tag too long": (
        V + ROW + "tags: [hero, " + 256 * "x" + "]}\n",
        [
            f"m.yaml:3:48: \"tags\": the tag '{197 * 'x'}...' must have 1 to 255 printable characters. Separate tags by |",
        ],
    ),
    "tags mapping": (
        V + ROW + "tags: {a: b}}\n",
        [
            'm.yaml:3:48: "tags": must be text, not a mapping',
        ],
    ),
    "budget per text": (
        V + "budget: {per: acme}\n" + ITEM,
        [
            "m.yaml:2:15: budget.per must be a mapping of keys and values, not text",
        ],
    ),
    "budget per label text": (
        V + "budget: {per: {client: 5}}\n" + ITEM,
        [
            "m.yaml:2:24: budget.per.client must be a mapping of keys and values, not text",
        ],
    ),
    "budget per value": (
        V + "budget: {per: {edit: {edit: lots}}}\n" + ITEM,
        [
            "m.yaml:2:29: \"budget.per.edit.edit\": 'lots' is not an amount in dollars",
        ],
    ),
    "budget per value negative": (
        V + "budget: {per: {edit: {edit: -1}}}\n" + ITEM,
        [
            "m.yaml:2:29: \"budget.per.edit.edit\": '-1' is not an amount in dollars of 0 or more",
        ],
    ),
    "budget per nobody": (
        V + "budget: {per: {edit: {edti: 1}, client: {acme: 1}}}\n" + ITEM,
        [
            'm.yaml:2:23: "budget.per.edit": no task has the edit \'edti\'. Did you mean "edit"?',
            "m.yaml:2:42: \"budget.per.client\": no task has a label 'client'",
        ],
    ),
    "budget per request": (
        V + "budget: {per_request: NaN}\n" + ITEM,
        [
            "m.yaml:2:23: \"budget.per_request\": 'NaN' is not an amount in dollars of 0 or more",
        ],
    ),
    "budget warn word": (
        V + "budget: {warn_at: [50, most, 0, 101]}\n" + ITEM,
        [
            "m.yaml:2:24: \"budget.warn_at\": 'most' is not a whole number from 1 to 100, in percent",
            "m.yaml:2:30: \"budget.warn_at\": '0' is not a whole number from 1 to 100, in percent",
            "m.yaml:2:33: \"budget.warn_at\": '101' is not a whole number from 1 to 100, in percent",
        ],
    ),
    "budget warn mapping": (
        V + "budget: {warn_at: {a: 1}}\n" + ITEM,
        [
            'm.yaml:2:19: "budget.warn_at": budget.warn_at must be a list, not a mapping',
        ],
    ),
    "from in a row": (
        V + ROW + "from: white}\n",
        [
            (
                "m.yaml:3:42: \"from\": the item has no key 'from'. Known are: id, prompt, image, mask, references,"
                " quality, size, format, n, sync_mode, output, labels, tags, enabled, post, checks, edit, note, vars"
            ),
        ],
    ),
    "labels list": (
        V + "defaults: {labels: [a]}\n" + ITEM,
        [
            "m.yaml:2:20: labels must be a mapping of keys and values, not a list",
        ],
    ),
    "label list": (
        V + "defaults: {labels: {a: [b]}}\n" + ITEM,
        [
            'm.yaml:2:24: "labels.a": must be text, not a list',
        ],
    ),
    "field list": (
        V + "defaults: {quality: [low]}\n" + ITEM,
        [
            'm.yaml:2:21: "quality": must be text, not a list',
        ],
    ),
    "defaults id": (
        V + "defaults: {id: x}\n" + ITEM,
        [
            (
                "m.yaml:2:12: \"id\": defaults has no key 'id'. Known are: prompt, image, mask,"
                " references, quality, size, format, n, sync_mode, output, labels, tags, enabled, post, checks"
            ),
        ],
    ),
    "source without kind": (
        V + "sources: [{limit: 3}]\n",
        [
            "m.yaml:2:11: a source has one of: csv, jsonl, parquet, glob, urls, imagefolder",
        ],
    ),
    "source with two": (
        V + "sources: [{csv: a, glob: b}]\n",
        [
            "m.yaml:2:11: a source has one of: csv, jsonl, parquet, glob, urls, imagefolder",
        ],
    ),
    "source empty": (
        V + "sources: [{csv: }]\n",
        [
            'm.yaml:2:17: "csv": is empty',
        ],
    ),
    "source later": (
        V + "sources: [{xlsx: a}]\n",
        [
            "m.yaml:2:11: a source has one of: csv, jsonl, parquet, glob, urls, imagefolder",
            (
                "m.yaml:2:12: \"xlsx\": the source has no key 'xlsx'. Known are: csv, jsonl, parquet, glob, urls, imagefolder, preset, map, columns, encoding, pattern, where, requires, limit, id, prompt, image, mask, references, quality, size, format, n, sync_mode, output, labels, tags, enabled, post, checks, edit, vars"
            ),
        ],
    ),
    "source limit": (
        V + "sources: [{glob: in/*, limit: 0, prompt: pp}]\n",
        [
            "m.yaml:2:31: \"limit\": '0' is not a positive number",
        ],
    ),
    "source gone": (
        V + "sources: [{csv: gone.csv}]\n",
        [
            "gone.csv: cannot be read: No such file or directory",
        ],
    ),
    "source no match": (
        V + "sources: [{glob: 'x/*.png'}]\n",
        [
            "m.yaml:2:18: no picture matches 'x/*.png'. Put a glob in quotes",
        ],
    ),
    "source keys of other kinds": (
        V + "sources: [{csv: shop.csv, pattern: '{a}'}, {glob: in/*, map: {x: y}, encoding: cp1252, prompt: pp}]\n",
        [
            'm.yaml:2:27: "pattern": a source of the kind csv has no pattern; it belongs to glob, urls, imagefolder',
            'm.yaml:2:57: "map": a source of the kind glob has no map; it belongs to csv, jsonl, parquet, imagefolder',
            'm.yaml:2:70: "encoding": a source of the kind glob has no encoding; it belongs to csv, jsonl, urls, imagefolder',
        ],
    ),
    "preset unknown": (
        V + "sources: [{csv: shop.csv, preset: Shopyfy, image: in/a.png, prompt: pp}]\n",
        [
            'm.yaml:2:35: "preset": there is no preset \'Shopyfy\'. Did you mean "shopify"?',
        ],
    ),
    "preset list": (
        V + "sources: [{csv: shop.csv, preset: [a], image: in/a.png, prompt: pp}]\n",
        [
            'm.yaml:2:35: "preset": must be text, not a list',
        ],
    ),
    "preset without its columns": (
        V + "sources: [{csv: shop.csv, preset: shopify, prompt: pp}]\n",
        [
            (
                "m.yaml:2:35: \"preset\": the preset shopify needs a column 'Handle' or 'URL handle'; the columns of"
                " shop.csv:1 are: id, Image Src. Write map: {handle: NAME OF THE COLUMN}"
            ),
        ],
    ),
    "preset of another kind": (
        V + "sources: [{csv: woo.csv, preset: shopify, prompt: pp}]\n",
        [
            (
                "m.yaml:2:34: \"preset\": the preset shopify needs a column 'Image Src' or 'Product image URL'; the"
                " columns of woo.csv:1 are: ID, Type, SKU, Name, Images. This looks like preset: woocommerce"
            ),
        ],
    ),
    "map list": (
        V + "sources: [{csv: shop.csv, map: [a], image: in/a.png, prompt: pp}]\n",
        [
            "m.yaml:2:32: map must be a mapping of keys and values, not a list",
        ],
    ),
    "map empty": (
        V + "sources: [{csv: shop.csv, map: {title: }, image: in/a.png, prompt: pp}]\n",
        [
            'm.yaml:2:40: "map.title": names no column',
        ],
    ),
    "map names": (
        V + "sources: [{csv: shop.csv, map: {a b: x, row: x, label.: x, var.id: x}, image: in/a.png, prompt: pp}]\n",
        [
            f'm.yaml:2:{column}: "map": {name!r} is neither a field, nor label.NAME, nor a name that a variable can have'
            for column, name in ((33, "a b"), (41, "row"), (49, "label."), (60, "var.id"))
        ],
    ),
    "map column": (
        V + "sources: [{csv: shop.csv, map: {image: Image Scr, title: Name}, prompt: pp}]\n",
        [
            'm.yaml:2:40: "map.image": shop.csv has no column \'Image Scr\'. Did you mean "Image Src"?',
            "m.yaml:2:58: \"map.title\": shop.csv has no column 'Name'. Its columns are: id, Image Src",
        ],
    ),
    "columns": (
        V + "sources: [{csv: shop.csv, columns: closed, image: in/a.png, prompt: pp}]\n",
        [
            "m.yaml:2:36: \"columns\": 'closed' is neither strict nor open",
        ],
    ),
    "columns strict": (
        V + "sources: [{csv: strict.csv, columns: strict, map: {tone: Colour}, prompt: pp}]\n",
        [
            'strict.csv:1: "promt": columns: strict allows no column \'promt\'. Did you mean "prompt"?',
            (
                "strict.csv:1: \"extra\": columns: strict allows no column 'extra'. Known are the fields, label.NAME,"
                " var.NAME and what map names"
            ),
        ],
    ),
    "encoding unknown": (
        V + "sources: [{csv: shop.csv, encoding: cp1522, image: in/a.png, prompt: pp}]\n",
        [
            (
                "m.yaml:2:37: \"encoding\": there is no encoding 'cp1522'. Known are for example: utf-8, utf-16,"
                " cp1252, latin-1"
            ),
        ],
    ),
    "encoding of no text": (
        V + "sources: [{csv: shop.csv, encoding: base64, image: in/a.png, prompt: pp}]\n",
        [
            (
                "m.yaml:2:37: \"encoding\": there is no encoding 'base64'. Known are for example: utf-8, utf-16,"
                " cp1252, latin-1"
            ),
        ],
    ),
    "encoding wrong": (
        V + "sources: [{csv: latin.csv, encoding: ascii, prompt: pp}]\n",
        [
            "latin.csv: is not ascii, which the manifest says it is",
        ],
    ),
    "pattern brace": (
        V + "sources: [{glob: in/*, pattern: '{sku', prompt: pp}]\n",
        [
            "m.yaml:2:33: \"pattern\": '{sku' has a brace without its partner",
        ],
    ),
    "pattern without names": (
        V + "sources: [{glob: in/*, pattern: sku, prompt: pp}]\n",
        [
            "m.yaml:2:33: \"pattern\": 'sku' names nothing; write for example {sku}_{pos}",
        ],
    ),
    "pattern side by side": (
        V + "sources: [{glob: in/*, pattern: '{a}{b}', prompt: pp}]\n",
        [
            (
                "m.yaml:2:33: \"pattern\": '{a}{b}' has two names with nothing between them, so that nobody knows"
                " where one ends"
            ),
        ],
    ),
    "pattern name": (
        V + "sources: [{glob: in/*, pattern: '{a b}', prompt: pp}]\n",
        [
            "m.yaml:2:33: \"pattern\": '{a b}' has {a b}, which is no name: letters, digits and underscores",
        ],
    ),
    "pattern own name": (
        V + "sources: [{glob: in/*, pattern: '{ext}', prompt: pp}]\n",
        [
            "m.yaml:2:33: \"pattern\": '{ext}' has {ext}, a name that already has a meaning",
        ],
    ),
    "pattern twice": (
        V + "sources: [{glob: in/*, pattern: '{a}/{a}', prompt: pp}]\n",
        [
            "m.yaml:2:33: \"pattern\": '{a}/{a}' has {a} twice",
        ],
    ),
    "pattern empty part": (
        V + "sources: [{glob: in/*, pattern: '/{a}', prompt: pp}]\n",
        [
            "m.yaml:2:33: \"pattern\": '/{a}' has an empty part before or after a slash",
        ],
    ),
    "where syntax": (
        V + "sources: [{csv: shop.csv, where: 'a ==', image: in/a.png, prompt: pp}]\n",
        [
            "m.yaml:2:34: \"where\": the condition is not a valid expression: unexpected 'end of template'",
        ],
    ),
    "where filter": (
        V + "sources: [{csv: shop.csv, where: 'a|shuffle', image: in/a.png, prompt: pp}]\n",
        [
            (
                "m.yaml:2:34: \"where\": the condition is not a valid expression: No filter named 'shuffle'. Filters are:"
                " default, float, int, join, lower, replace, round, title, trim, truncate, upper"
            ),
        ],
    ),
    "where unknown": (
        V + "sources: [{csv: shop.csv, where: imag != '', image: in/a.png, prompt: pp}]\n",
        [
            (
                'm.yaml:2:34: "where": the condition uses imag, which is no column or variable here.'
                " Known are: id, image_src, line, row, source"
            ),
        ],
    ),
    "where row": (
        V + "sources: [{csv: shop.csv, where: \"row['Image Scr'] != ''\", image: in/a.png, prompt: pp}]\n",
        [
            (
                "m.yaml:2:34: \"where\": the condition uses row['Image Scr'], and there is no such column."
                ' Did you mean "Image Src"?'
            ),
        ],
    ),
    "where text": (
        V + "sources: [{csv: shop.csv, where: image_src, image: in/a.png, prompt: pp}]\n",
        [
            "m.yaml:2:34: \"where\": the condition is neither true nor false. Compare it, such as title != ''",
        ],
    ),
    "where number": (
        V + "sources: [{csv: shop.csv, where: image_src > 3, image: in/a.png, prompt: pp}]\n",
        [
            (
                "m.yaml:2:34: \"where\": the condition cannot be evaluated: '>' not supported between instances of"
                " 'str' and 'int'. Cells are text: compare them with text, or write NAME|float"
            ),
        ],
    ),
    "where escape": (
        V + "sources: [{csv: shop.csv, where: \"image_src.__class__ == 'x'\", image: in/a.png, prompt: pp}]\n",
        [
            'm.yaml:2:34: "where": the condition does something that templates may not do',
        ],
    ),
    "where growth": (
        V + "sources: [{csv: shop.csv, where: \"'a' * 1000000000 == 'b'\", image: in/a.png, prompt: pp}]\n",
        [
            'm.yaml:2:34: "where": the condition uses the operator *, which templates may not do',
        ],
    ),
    "urls": (
        V + "sources: [{urls: ['http://x.test/a.png?k=SECRET', a.png, 'https://x.test/b c.png'], prompt: pp}]\n",
        [
            "m.yaml:2:19: \"urls\": 'http://x.test/a.png' must be an https URL or a path",
            "m.yaml:2:51: \"urls\": 'a.png' is no URL; each line is one https URL",
            (
                "m.yaml:2:58: \"urls\": 'https://x.test/b c.png' has a space or a control character; write %20 for a space"
            ),
        ],
    ),
    "urls empty": (
        V + "sources: [{urls: [], prompt: pp}]\n",
        [
            'm.yaml:2:18: "urls": is empty',
        ],
    ),
    "urls gone": (
        V + "sources: [{urls: gone.txt, prompt: pp}]\n",
        [
            "gone.txt: cannot be read: No such file or directory",
        ],
    ),
    "imagefolder without metadata": (
        V + "sources: [{imagefolder: in, prompt: pp}]\n",
        [
            (
                'm.yaml:2:25: "imagefolder": in has no metadata.csv, metadata.jsonl or metadata.parquet. For pictures'
                " without metadata write glob instead"
            ),
        ],
    ),
    "imagefolder gone": (
        V + "sources: [{imagefolder: gone, prompt: pp}]\n",
        [
            'm.yaml:2:25: "imagefolder": gone is no folder',
        ],
    ),
    "imagefolder without names": (
        V + "sources: [{imagefolder: folder, prompt: pp}]\n",
        [
            (
                "m.yaml:2:25: \"preset\": the preset imagefolder needs a column 'file_name'; the columns of"
                " folder/metadata.csv:1 are: picture. Write map: {image: NAME OF THE COLUMN}"
            ),
        ],
    ),
    "parquet broken": (
        V + "sources: [{parquet: shop.csv, prompt: pp}]\n",
        [
            (
                "shop.csv: is not valid Parquet: Parquet magic bytes not found in footer. Either the file is corrupted or"
                " this is not a parquet file"
            ),
        ],
    ),
    "requires of a glob": (
        V + "sources: [{glob: in/*.png, pattern: '{sku}', requires: [skus], prompt: pp}]\n",
        [
            'm.yaml:2:18: "requires": in/*.png has no column \'skus\'. Did you mean "sku"?',
        ],
    ),
    "requires unknown": (
        V + "sources: [{csv: shop.csv, requires: [Image Scr], image: in/a.png, prompt: pp}]\n",
        [
            'm.yaml:2:17: "requires": shop.csv has no column \'Image Scr\'. Did you mean "Image Src"?',
        ],
    ),
    "no image": (
        V + "items:\n  - {id: a, prompt: pp, }\n",
        [
            'm.yaml:3:5: "image": the item has no image',
        ],
    ),
    "no prompt": (
        V + "items:\n  - {id: a, image: in/a.png, }\n",
        [
            ('m.yaml:3:5: "prompt": there is no prompt. Give one in the row, the edit, the defaults, or with --prompt'),
        ],
    ),
    "image gone": (
        V + "items:\n  - {id: a, image: in/gone.png, prompt: pp, }\n",
        [
            'm.yaml:3:20: "image": ROOT/in/gone.png does not exist',
        ],
    ),
    "image folder": (
        V + "items:\n  - {id: a, image: in, prompt: pp, }\n",
        [
            'm.yaml:3:20: "image": ROOT/in is a folder',
        ],
    ),
    "image empty": (
        V + "items:\n  - {id: a, image: empty.png, prompt: pp, }\n",
        [
            'm.yaml:3:20: "image": ROOT/empty.png is empty',
        ],
    ),
    "mask gone": (
        V + ROW + "mask: m.png}\n",
        [
            'm.yaml:3:48: "mask": ROOT/m.png does not exist',
        ],
    ),
    "references": (
        V + ROW + "references: [in/b.png, x.png, y.png]}\n",
        [
            'm.yaml:3:54: "references": ROOT/x.png does not exist',
            'm.yaml:3:54: "references": ROOT/y.png does not exist',
        ],
    ),
    "http": (
        V + "items:\n  - {id: a, image: 'http://x.test/a.png?sig=SECRET', prompt: pp, }\n",
        [
            "m.yaml:3:20: \"image\": 'http://x.test/a.png' must be an https URL or a path",
        ],
    ),
    "user in url": (
        V + "items:\n  - {id: a, image: 'https://me:pw@x.test/a.png', prompt: pp, }\n",
        [
            "m.yaml:3:20: \"image\": 'https://x.test/a.png' holds a user name or a password",
        ],
    ),
    "file url": (
        V + "items:\n  - {id: a, image: 'file:///etc/passwd', prompt: pp, }\n",
        [
            "m.yaml:3:20: \"image\": 'file:///etc/passwd' must be an https URL or a path",
        ],
    ),
    "data url": (
        V + ROW + "mask: 'data:image/png;base64,AAAA'}\n",
        [
            "m.yaml:3:48: \"mask\": 'data:image/png;base64,...' must be an https URL or a path",
        ],
    ),
    "space in url": (
        V + "items:\n  - {id: a, image: 'https://x.test/a b.png', prompt: pp, }\n",
        [
            (
                "m.yaml:3:20: \"image\": 'https://x.test/a b.png' has a space or a control character;"
                " write %20 for a space"
            ),
        ],
    ),
    "no host": (
        V + "items:\n  - {id: a, image: 'https:///a.png', prompt: pp, }\n",
        [
            "m.yaml:3:20: \"image\": 'https:///a.png' names no host",
        ],
    ),
    "bad port": (
        V + "items:\n  - {id: a, image: 'https://x.test:99999999/a.png', prompt: pp, }\n",
        [
            "m.yaml:3:20: \"image\": 'https://x.test:99999999/a.png' is not a URL",
        ],
    ),
    "short prompt": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: x, }\n",
        [
            'm.yaml:3:38: "prompt": the prompt has 1 characters; 2 to 32000 are allowed',
        ],
    ),
    "blank prompt": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: '  ', }\n",
        [
            'm.yaml:3:38: "prompt": the prompt has 0 characters; 2 to 32000 are allowed',
        ],
    ),
    "quality": (
        V + ROW + "quality: hihg}\n",
        [
            'm.yaml:3:51: "quality": \'hihg\' is not one of low, medium, high. Did you mean "high"?',
        ],
    ),
    "size text": (
        V + ROW + "size: potrait_4_3}\n",
        [
            (
                "m.yaml:3:48: \"size\": 'potrait_4_3' is neither WIDTHxHEIGHT nor one of auto, square_hd,"
                ' square, portrait_4_3, portrait_16_9, landscape_4_3, landscape_16_9. Did you mean "portrait_4_3"?'
            ),
        ],
    ),
    "size multiple": (
        V + ROW + "size: 1000x1000}\n",
        [
            'm.yaml:3:48: "size": 1000x1000: both sides must be multiples of 16',
        ],
    ),
    "size side": (
        V + ROW + "size: 4096x1024}\n",
        [
            'm.yaml:3:48: "size": 4096x1024: the longest side may have 3840 pixels',
        ],
    ),
    "size ratio": (
        V + ROW + "size: 3200x640}\n",
        [
            'm.yaml:3:48: "size": 3200x640: one side may be at most 3 times the other',
        ],
    ),
    "size pixels": (
        V + ROW + "size: 512x512}\n",
        [
            'm.yaml:3:48: "size": 512x512: 262144 pixels in all; allowed are 655360 to 8294400',
        ],
    ),
    "format": (
        V + ROW + "format: gif}\n",
        [
            "m.yaml:3:50: \"format\": 'gif' is not one of png, jpeg, webp",
        ],
    ),
    "n": (
        V + ROW + "n: 5}\n",
        [
            "m.yaml:3:45: \"n\": '5' is not a whole number from 1 to 4",
        ],
    ),
    "n words": (
        V + ROW + "n: two}\n",
        [
            "m.yaml:3:45: \"n\": 'two' is not a whole number from 1 to 4",
        ],
    ),
    "sync_mode": (
        V + ROW + "sync_mode: maybe}\n",
        [
            "m.yaml:3:53: \"sync_mode\": 'maybe' is neither true nor false",
        ],
    ),
    "enabled": (
        V + ROW + "enabled: perhaps}\n",
        [
            "m.yaml:3:51: \"enabled\": 'perhaps' is neither true nor false",
        ],
    ),
    "unknown edit": (
        V + "edits: {white: {}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp, edit: whit}\n",
        [
            'm.yaml:4:48: "edit": there is no edit \'whit\'. Did you mean "white"?',
        ],
    ),
    "item key": (
        V + ROW + "colour: red}\n",
        [
            (
                "m.yaml:3:42: \"colour\": the item has no key 'colour'. Known are: id, prompt, image,"
                " mask, references, quality, size, format, n, sync_mode, output, labels, tags, enabled, post, checks, edit, note, vars"
            ),
        ],
    ),
    "duplicate id": (
        V + ROW + "}\n  - {id: a, image: in/gone.png, prompt: pp}\n",
        [
            "m.yaml:4:5: \"id\": the id 'a' is already that of m.yaml:3:5",
            'm.yaml:4:20: "image": ROOT/in/gone.png does not exist',
        ],
    ),
    "id control": (
        V + 'items:\n  - {id: "a\\tb", image: in/a.png, prompt: pp, }\n',
        [
            "m.yaml:3:10: \"id\": the id 'a\\tb' has a character that cannot be printed",
        ],
    ),
    "empty id": (
        V + "items:\n  - {id: '', image: in/a.png, prompt: pp, }\n",
        [
            'm.yaml:3:10: "id": the id is empty',
        ],
    ),
    "key in name": (
        V + "name: rf_live_abcdefgh12345\n" + ITEM,
        [
            (
                'm.yaml:2:7: "name": this looks like an API key; keys do not belong in a manifest. Take'
                " it out, replace it at the provider, and set it in the environment"
            ),
        ],
    ),
    "key in prompt": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: 'use sk-proj-abcdefgh123', }\n",
        [
            (
                'm.yaml:3:38: "prompt": this looks like an API key; keys do not belong in a manifest.'
                " Take it out, replace it at the provider, and set it in the environment"
            ),
        ],
    ),
    "key as key": (
        V + "rf_live_abcdefgh12345: x\n" + ITEM,
        [
            "m.yaml:2:1: this looks like an API key; keys do not belong in a manifest",
        ],
    ),
    "key in vars": (
        V + ROW + "vars: {k: sk-ABCDEFGHIJKLMNOPQRSTUV}}\n",
        [
            (
                'm.yaml:3:52: "vars.k": this looks like an API key; keys do not belong in a manifest.'
                " Take it out, replace it at the provider, and set it in the environment"
            ),
        ],
    ),
    "key put together": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: \"{{ 'rf_live_' ~ 'abcdefgh12345' }}\", }\n",
        [
            (
                'm.yaml:3:38: "prompt": this looks like an API key; keys do not belong in a manifest.'
                " Take it out, replace it at the provider, and set it in the environment"
            ),
        ],
    ),
    "unknown name": (
        V
        + (
            "defaults: {prompt: 'a {{ color }} {{ siz }}'}\nitems:\n  - {id: a, image: in/a.png, vars:"
            " {colour: red, size: s}}\n  - {id: b, image: in/b.png, vars: {colour: red, size: s}}\n"
        ),
        [
            (
                'm.yaml:2:20: "prompt": the template uses {{ color }} and {{ siz }}, which are no'
                ' columns or variables here. Did you mean "colour"? Did you mean "size"? (2 rows, first shown)'
            ),
        ],
    ),
    "unknown filter": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: '{{ id|uper }}', }\n",
        [
            (
                "m.yaml:3:38: \"prompt\": the template is not a valid template: No filter named 'uper'."
                " Filters are: default, float, int, join, lower, replace, round, title, trim, truncate, upper"
            ),
        ],
    ),
    "broken template": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: 'a {{ b', }\n",
        [
            (
                'm.yaml:3:38: "prompt": the template is not a valid template: unexpected end of'
                " template, expected 'end of print statement'."
            ),
        ],
    ),
    "leftover": (
        V + "items:\n  - {id: a, image: in/a.png, vars: {t: '{{ x }}'}, prompt: 'a {{ t }}', }\n",
        [
            'm.yaml:3:60: "prompt": the prompt still has template marks after rendering',
        ],
    ),
    "a list is no text": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: \"{{ id.split('x') }}\", }\n",
        [
            'm.yaml:3:38: "prompt": the template cannot be filled in: a list is no text',
        ],
    ),
    "sample in prompt": (
        V + "items:\n  - {id: a, image: in/a.png, prompt: 'p {{ sample }}', }\n",
        [
            (
                'm.yaml:3:38: "prompt": the template uses {{ sample }}, which is no column or variable'
                " here. Known are: edit, ext, id, image, line, row, source, stem, variant"
            ),
        ],
    ),
    "edit in id": (
        V + "items:\n  - {id: '{{ edit }}', image: in/a.png, prompt: pp, }\n",
        [
            (
                'm.yaml:3:10: "id": the template uses {{ edit }}, which is no column or variable here.'
                " Known are: image, line, row, source, stem"
            ),
        ],
    ),
    "unknown column": (
        V + "items:\n  - {id: a, image: in/a.png, vars: {Colour Name: x}, prompt: \"{{ row['Color Name'] }}\", }\n",
        [
            (
                "m.yaml:3:62: \"prompt\": the template uses row['Color Name'], and there is no such"
                ' column. Did you mean "Colour Name"?'
            ),
        ],
    ),
    "output up": (
        V + ROW + "output: ../x.png}\n",
        [
            ("m.yaml:3:50: \"output\": the output '../x.png' has the component '..', which would leave its place"),
        ],
    ),
    "output absolute": (
        V + ROW + "output: /etc/x.png}\n",
        [
            "m.yaml:3:50: \"output\": the output '/etc/x.png' must be relative to the output folder",
        ],
    ),
    "output drive": (
        V + ROW + "output: 'C:x.png'}\n",
        [
            "m.yaml:3:50: \"output\": the output 'C:x.png' must be relative to the output folder",
        ],
    ),
    "output own folder": (
        V + ROW + "output: .batchedit/x.png}\n",
        [
            "m.yaml:3:50: \"output\": the output '.batchedit/x.png' may not lie in .batchedit",
        ],
    ),
    "output device": (
        V + ROW + "output: 'lpt1.png'}\n",
        [
            ("m.yaml:3:50: \"output\": the output 'lpt1.png' has the component 'lpt1.png', a device name on Windows"),
        ],
    ),
    "output dot": (
        V + ROW + "output: 'x./y.png'}\n",
        [
            (
                "m.yaml:3:50: \"output\": the output 'x./y.png' has the component 'x.', which begins or"
                " ends with a space or ends with a dot"
            ),
        ],
    ),
    "output backslash": (
        V + ROW + "output: 'x\\y.png'}\n",
        [
            "m.yaml:3:50: \"output\": the output 'x\\\\y.png' uses a backslash; write / between folders",
        ],
    ),
    "output extension": (
        V + ROW + "output: x.jpg}\n",
        [
            'm.yaml:3:50: "output": the output ends in .jpg, the format is png. Write {{ ext }}, or set format',
        ],
    ),
    "output gif": (
        V + ROW + "output: x.gif}\n",
        [
            'm.yaml:3:50: "output": the output ends in .gif, the format is png. Write {{ ext }}, or set format',
        ],
    ),
    "output empty": (
        V + ROW + "output: ' '}\n",
        [
            'm.yaml:3:50: "output": the output is empty',
        ],
    ),
    "no sample": (
        V + ROW + "n: 2, output: '{{ id }}.{{ ext }}'}\n",
        [
            (
                'm.yaml:3:56: "output": the 2 pictures of a task would have one name. Add {{ sample }}'
                " to the output template"
            ),
        ],
    ),
    "post text": (
        "version: 1\ndefaults: {post: amazon}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:18: "post": \'amazon\' is no profile. Did you mean "amazon-main"?',
        ],
    ),
    "post list": (
        "version: 1\ndefaults: {post: [a]}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:2:18: post must be a mapping of keys and values, not a list",
        ],
    ),
    "post keys": (
        "version: 1\ndefaults: {post: {profil: etsy, fits: 1x1}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:19: "profil": post has no key \'profil\'. Did you mean "profile"?',
            'm.yaml:2:33: "fits": post has no key \'fits\'. Did you mean "fit"?',
        ],
    ),
    "post values": (
        "version: 1\ndefaults:\n  post:\n    profile: ebay\n    srgb: maybe\n    background: blue\n    crop: 4/5\n    fit: 1600\n    snap_white: 255\n    format: gif\n    quality: 101\n    max_bytes: big\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:4:14: \"post.profile\": 'ebay' is not one of amazon-main, amazon-secondary, etsy, google-merchant, shopify, walmart, zalando-packshot, none",
            "m.yaml:5:11: \"post.srgb\": 'maybe' is neither true nor false",
            "m.yaml:6:17: \"post.background\": 'blue' cannot be understood. Such as: #ffffff",
            "m.yaml:7:11: \"post.crop\": '4/5' cannot be understood. Such as: 4:5",
            "m.yaml:8:10: \"post.fit\": '1600' cannot be understood. Such as: 1600x1600",
            "m.yaml:9:17: \"post.snap_white\": '255' is not a whole number from 1 to 254, or none",
            "m.yaml:10:13: \"post.format\": 'gif' is not one of png, jpeg, webp, jpg, none",
            "m.yaml:11:14: \"post.quality\": '101' is not a whole number from 1 to 100, or none",
            "m.yaml:12:16: \"post.max_bytes\": 'big' is not a whole number above 0, or none",
        ],
    ),
    "post shapes": (
        "version: 1\ndefaults:\n  post:\n    crop: 0:5\n    fit: 20000x5\n    pad: 1:11\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:4:11: \"post.crop\": '0:5' has a side of 0. Such as: 4:5",
            "m.yaml:5:10: \"post.fit\": '20000x5': a side has at most 10,000 pixels, a picture 40,000,000. Such as: 1600x1600",
            "m.yaml:6:10: \"post.pad\": '1:11': one side may be at most 10 times the other. Such as: 1801x2600",
        ],
    ),
    "post nested": (
        "version: 1\ndefaults:\n  post:\n    fit: {enlarge: true}\n    pad: {size: 4x4, colour: red}\n    max_bytes: {floor: 200}\n    metadata: {keep: perhaps, digital_source_type: aiMade}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:4:10: "post.fit": needs the key size. Such as: size: 1600x1600',
            "m.yaml:5:22: \"colour\": post.pad has no key 'colour'. Known are: size, background",
            'm.yaml:6:16: "post.max_bytes": needs the key most. Such as: most: 500000',
            "m.yaml:6:24: \"post.max_bytes.floor\": '200' is not a whole number from 1 to 100",
            "m.yaml:7:22: \"post.metadata.keep\": 'perhaps' is neither true nor false",
            "m.yaml:7:52: \"post.metadata.digital_source_type\": 'aiMade' is not one of trainedAlgorithmicMedia, compositeWithTrainedAlgorithmicMedia, algorithmicallyEnhanced, compositeSynthetic, compositeCapture, algorithmicMedia, digitalCapture, digitalCreation, humanEdits, none",
        ],
    ),
    "post metadata text": (
        "version: 1\ndefaults: {post: {metadata: keep}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:2:29: post.metadata must be a mapping of keys and values, not text",
        ],
    ),
    "post quality png": (
        "version: 1\ndefaults: {post: {quality: 80}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:18: "post.quality": quality needs a format with a quality, and the delivered file is png. Write format: jpeg, or webp, into post',
        ],
    ),
    "post max_bytes png": (
        "version: 1\ndefaults: {post: {max_bytes: 8000, format: png}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:18: "post.max_bytes": max_bytes needs a format with a quality, and the delivered file is png. Write format: jpeg, or webp, into post',
        ],
    ),
    "post floor": (
        "version: 1\ndefaults: {post: {format: jpeg, quality: 40, max_bytes: 8000}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:18: "post.quality": the quality is 40, and below 50, the floor of max_bytes. Lower the floor',
        ],
    ),
    "post templates": (
        "version: 1\ndefaults: {post: {crop: '{{ ratio }}'}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:2:25: \"post.crop\": '{{ ratio }}' cannot be understood. Such as: 4:5",
        ],
    ),
    "checks text": (
        "version: 1\ndefaults: {checks: all}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:2:20: \"checks\": 'all' is no check. Write checks as a mapping, or one of: none",
        ],
    ),
    "checks keys": (
        "version: 1\ndefaults: {checks: {min_sid: 100}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:21: "min_sid": checks has no key \'min_sid\'. Did you mean "min_side"?',
        ],
    ),
    "checks values": (
        "version: 1\ndefaults:\n  checks:\n    decodes: yes\n    min_side: {least: 10, side: left}\n    aspect: 4x5\n    white_border: 101\n    fill: {severity: fail}\n    phash_distance: {}\n    max_bytes: {most: 0}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            "m.yaml:4:14: \"checks.decodes\": 'yes' is not one of warn, fail, none",
            "m.yaml:5:33: \"checks.min_side.side\": 'left' is not one of shortest, longest",
            "m.yaml:6:13: \"checks.aspect\": '4x5' cannot be understood. Such as: 1:1",
            "m.yaml:7:19: \"checks.white_border\": '101' is not a whole number from 1 to 100, or none",
            'm.yaml:8:11: "checks.fill": needs the key least. Such as: least: 85',
            'm.yaml:9:21: "checks.phash_distance": needs least, or most, or both. Such as: {least: 2, most: 20}',
            "m.yaml:10:23: \"checks.max_bytes.most\": '0' is not a whole number above 0",
        ],
    ),
    "checks bounds": (
        "version: 1\ndefaults: {checks: {phash_distance: {least: 20, most: 10}}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:37: "checks.phash_distance": least is above most. Such as: {least: 2, most: 20}',
        ],
    ),
    "post in variant": (
        "version: 1\nedits: {w: {prompt: pp, variants: {x: {post: {fit: x}}}}}\nitems: [{id: a, image: in/a.png}]\n",
        [
            "m.yaml:2:52: \"post.fit\": 'x' cannot be understood. Such as: 1600x1600",
        ],
    ),
    "post extension": (
        "version: 1\nitems:\n  - {id: a, image: in/a.png, prompt: pp, output: a.png, post: {format: jpeg}}\n",
        [
            'm.yaml:3:50: "output": the output ends in .png, the format is jpeg. Write {{ ext }}, or set format',
        ],
    ),
    "key in post": (
        "version: 1\ndefaults: {post: {crop: rf_live_0123456789abcdef}}\nitems:\n  - {id: a, image: in/a.png, prompt: pp}\n",
        [
            'm.yaml:2:25: "post.crop": this looks like an API key; keys do not belong in a manifest. Take it out, replace it at the provider, and set it in the environment',
        ],
    ),
}

CSV: dict[str, tuple[str, list[str]]] = {
    "empty": (
        "",
        [
            "t.csv:1: is empty; the first line must name the columns",
        ],
    ),
    "blank": (
        "\n\n",
        [
            "t.csv:1: is empty; the first line must name the columns",
        ],
    ),
    "duplicate column": (
        "id,image,id\na,in/a.png,b\n",
        [
            "t.csv:1: \"id\": the column 'id' stands at 1 and 3",
        ],
    ),
    "too many": (
        "id,image\na,in/a.png,more\n",
        [
            "t.csv:2: the row has 3 cells, the header 2. A cell that holds ',' must be in quotes",
        ],
    ),
    "too few": (
        "id,image,x\na,in/a.png\n",
        [
            "t.csv:2: the row has 2 cells, the header 3. Is a quote or a line break missing?",
        ],
    ),
    "cell without a column": (
        "id,image,\na,in/a.png,x\n",
        [
            ("t.csv:2: there is text in the column 3, which has no name. Give the column a name in the first line"),
        ],
    ),
    "quoting": (
        'id,image\na,"in/a.png"x\n',
        [
            "t.csv:2: is not valid CSV: ',' expected after '\"'",
        ],
    ),
    "open quote": (
        'id,image\na,"in/a.png\nb,in/b.png\n',
        [
            "t.csv:2: is not valid CSV: unexpected end of data",
        ],
    ),
    "nul": (
        "id,image\na\x00,in/a.png\n",
        [
            "t.csv:2: \"id\": the id 'a\\x00' has a character that cannot be printed",
        ],
    ),
    "quality": (
        "id,image,quality\na,in/a.png,meduim\nb,in/b.png,meduim\n",
        [
            (
                't.csv:2: "quality": \'meduim\' is not one of low, medium, high. Did you mean "medium"? (2'
                " rows, first shown)"
            ),
        ],
    ),
    "image": (
        "id,image\na,in/gone.png\n",
        [
            't.csv:2: "image": ROOT/in/gone.png does not exist',
        ],
    ),
    "duplicate id": (
        'id,image,x\na,in/a.png,"1\n2"\na,in/b.png,\n',
        [
            "t.csv:4: \"id\": the id 'a' is already that of t.csv:2",
        ],
    ),
    "duplicate stem": (
        "image\nin/a.png\nin/a.png\n",
        [
            "t.csv:3: \"id\": the id 'a' is already that of t.csv:2",
        ],
    ),
    "key": (
        "id,image,note\na,in/a.png,rf_live_abcdefgh1234\n",
        [
            (
                't.csv:2: "note": this looks like an API key; keys do not belong in a manifest. Take it'
                " out and replace it at the provider"
            ),
        ],
    ),
    "key in header": (
        "id,image,rf_live_abcdefgh1234\na,in/a.png,\n",
        [
            (
                "t.csv:1: this looks like an API key; keys do not belong in a manifest. Take it out and"
                " replace it at the provider"
            ),
        ],
    ),
    "enabled": (
        "id,image,enabled\na,in/a.png,perhaps\n",
        [
            "t.csv:2: \"enabled\": 'perhaps' is neither true nor false",
        ],
    ),
    "references": (
        "id,image,references\na,in/a.png,in/x.png|in/y.png\n",
        [
            't.csv:2: "references": ROOT/in/x.png does not exist',
            't.csv:2: "references": ROOT/in/y.png does not exist',
        ],
    ),
    "edit": (
        "id,image,edit\na,in/a.png,whte\n",
        [
            't.csv:2: "edit": there is no edit \'whte\'. Did you mean "white"?',
        ],
    ),
    "n": (
        "id,image,n\na,in/a.png,0\n",
        [
            "t.csv:2: \"n\": '0' is not a whole number from 1 to 4",
        ],
    ),
    "output": (
        "id,image,output\na,in/a.png,../../x.png\n",
        [
            ("t.csv:2: \"output\": the output '../../x.png' has the component '..', which would leave its place"),
        ],
    ),
}

JSONL: dict[str, tuple[str, list[str]]] = {
    "half a character": (
        '{"image": "in/a.png", "note": "x \\ud800", "\\udc00": "y"}\n',
        [
            'r.jsonl:1: "note": holds half of a character, such as \\ud800 without its partner',
            "r.jsonl:1: a key holds half of a character, such as \\ud800 without its partner",
        ],
    ),
    "no json": (
        "{id: a}\n",
        [
            (
                'r.jsonl:1:2: is not a JSON object on one line. Each line is one object, such as {"id":'
                ' "a", "image": "in/a.png"}'
            ),
        ],
    ),
    "a list": (
        "[1]\n",
        [
            (
                'r.jsonl:1: is not a JSON object on one line. Each line is one object, such as {"id":'
                ' "a", "image": "in/a.png"}'
            ),
        ],
    ),
    "cut": (
        '{"id": "a"\n',
        [
            (
                'r.jsonl:1:1: is not a JSON object on one line. Each line is one object, such as {"id":'
                ' "a", "image": "in/a.png"}'
            ),
        ],
    ),
    "twice": (
        '{"id": "a", "id": "b"}\n',
        [
            "r.jsonl:1: \"id\": the key 'id' is given twice",
        ],
    ),
    "nested value": (
        '{"id": ["a"], "image": "in/a.png"}\n',
        [
            'r.jsonl:1: "id": must be text, not a list',
        ],
    ),
    "labels text": (
        '{"image": "in/a.png", "labels": "x"}\n',
        [
            'r.jsonl:1: "labels": must be an object of names and texts',
        ],
    ),
    "label list": (
        '{"image": "in/a.png", "labels": {"a": []}}\n',
        [
            'r.jsonl:1: "labels.a": must be text, not a list',
        ],
    ),
    "key": (
        '{"image": "in/a.png", "vars": {"a": "rf_live_abcdefgh1234"}}\n',
        [
            (
                'r.jsonl:1: "vars.a": this looks like an API key; keys do not belong in a manifest. Take'
                " it out and replace it at the provider"
            ),
        ],
    ),
    "n": (
        '{"image": "in/a.png", "n": 2.5}\n',
        [
            "r.jsonl:1: \"n\": '2.5' is not a whole number from 1 to 4",
        ],
    ),
}


@pytest.fixture
def prepared(folder: Folder) -> Folder:
    """An empty picture, tables of several kinds, and defaults beside the table of the test."""
    folder.write("empty.png", b"")
    folder.write("shop.csv", "id,Image Src\na,x\n")
    folder.write("woo.csv", "ID,Type,SKU,Name,Images\n1,simple,a,A,https://x.test/a.png\n")
    folder.write("strict.csv", "id,image,promt,extra,Colour,label.x,var.y\na,in/a.png,,,,,\n")
    folder.write("latin.csv", "id,image\nGröße,in/a.png\n".encode("latin-1"))
    folder.write("folder/metadata.csv", "picture\na.png\n")
    folder.write("t.defaults.yaml", "version: 1\ndefaults: {prompt: pp}\nedits: {white: {}}\n")
    return folder


@pytest.mark.parametrize("case", YAML)
def test_wrong_yaml(prepared: Folder, case: str) -> None:
    """File, line, column, field, value and hint."""
    text, expected = YAML[case]
    prepared.write("m.yaml", text)
    assert prepared.problems("m.yaml") == expected


@pytest.mark.parametrize("case", CSV)
def test_wrong_tables(prepared: Folder, case: str) -> None:
    """File, first physical line, column name, value and hint."""
    text, expected = CSV[case]
    prepared.write("t.csv", text)
    assert prepared.problems("t.csv") == expected


@pytest.mark.parametrize("case", JSONL)
def test_wrong_json_lines(prepared: Folder, case: str) -> None:
    """The same; with the character where the parser knows it."""
    text, expected = JSONL[case]
    prepared.write("r.jsonl", text)
    assert prepared.problems("r.jsonl", prompt="pp") == expected


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("references: [" + ", ".join(["in/b.png"] * 16) + "]", 'references": 17 pictures; one request takes 16'),
        ("output: '" + "x" * 197 + ".png'", "has a component of 201 bytes; at most 200 are safe everywhere"),
        ("output: '" + "ü" * 99 + ".png'", "has a component of 202 bytes; at most 200 are safe everywhere"),
        ("quality: " + "y" * 500, "'" + "y" * 197 + "...' is not one of low, medium, high"),
    ],
)
def test_too_much(folder: Folder, fields: str, message: str) -> None:
    """Limits on numbers and lengths; what is long is not repeated in full."""
    folder.write("m.yaml", V + ROW + fields + "}\n")
    (problem,) = folder.problems("m.yaml")
    assert message in problem


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("id: a, image: in/a.png, prompt: " + "x" * 32_001, "the prompt has 32001 characters; 2 to 32000 are allowed"),
        ("id: " + "x" * 201 + ", image: in/a.png, prompt: pp", "the id has 201 characters; at most 200 are allowed"),
    ],
)
def test_too_long(folder: Folder, base: str, message: str) -> None:
    """One more than is allowed; what is allowed passes."""
    for text, expected in ((base, [message]), (base.replace("x" * 150, "x" * 149, 1), [])):
        folder.write("m.yaml", f"{V}items:\n  - {{{text}}}\n")
        assert [problem.split('": ')[1] for problem in folder.problems("m.yaml")] == expected


def test_a_bad_encoding_is_explained(folder: Folder) -> None:
    """Latin-1 is no UTF-8: say what to do."""
    folder.write("t.csv", "id,image,prompt\na,in/a.png,Größe\n".encode("latin-1"))
    assert folder.problems("t.csv") == ["t.csv: is not UTF-8; save it as UTF-8 (in a spreadsheet: CSV UTF-8)" + OR_SAY]
    folder.write("u.csv", b"\xff\xfei\x00d\x00\n")
    assert folder.problems("u.csv") == ["u.csv: is not UTF-8; save it as UTF-8 (in a spreadsheet: CSV UTF-8)" + OR_SAY]
    folder.write("m.yaml", "version: 1\nname: Größe\n".encode("latin-1"))
    assert folder.problems("m.yaml") == ["m.yaml: is not UTF-8 (byte 0xf6); save it as UTF-8"]
    folder.write("r.jsonl", '{"id": "Größe"}'.encode("latin-1"))
    assert folder.problems("r.jsonl") == ["r.jsonl: is not UTF-8; save it as UTF-8" + OR_SAY]


def test_no_message_repeats_a_secret(folder: Folder) -> None:
    """Keys, passwords and signatures, in whatever field, column or file, never come back."""
    secret = "rf_live_abcdefgh12345678"
    fields = ["id", "image", "prompt", "quality", "size", "n", "output", "edit", "enabled", "references", "note"]
    for field in fields:
        others = "".join(f", {name}: in/a.png" for name in ("image", "prompt") if name != field)
        folder.write("m.yaml", f"{V}items:\n  - {{{field}: {secret}{others}}}\n")
        folder.write("t.csv", f"{field},x\n{secret},y\n")
        folder.write("r.jsonl", f'{{"{field}": "{secret}", "{secret}": ["a"], "labels": {{"{secret}": 1}}}}\n')
        for source in ("m.yaml", "t.csv", "r.jsonl"):
            found = folder.problems(source, prompt="pp")
            assert found
            assert secret not in "".join(found)
    for url in ("https://me:hunter2@x.test/a.png?sig=hunter2", "http://x.test/a.png?sig=hunter2#hunter2"):
        folder.write("t.csv", f"id,image\na,{url}\n")
        assert "hunter2" not in "".join(folder.problems("t.csv", prompt="pp"))


def test_handles_are_no_keys(folder: Folder) -> None:
    """Product names that begin like a key."""
    folder.write("t.csv", "id,image,note\nsk-beanie-black-small-2024,in/a.png,desk-lamp-with-a-very-long-name-indeed\n")
    assert folder.tasks("t.csv", prompt="pp")[0].item.id == "sk-beanie-black-small-2024"


def test_everything_is_listed_at_once(folder: Folder) -> None:
    """Head, defaults beside the table and rows; several in one row; equal ones counted by rows, not by tasks."""
    folder.write(
        "t.csv", "id,image,quality,size,mask\na,in/gone.png,meduim,1x1,m.png\nb,in/a.png,,,\nc,in/b.png,meduim,,\n"
    )
    folder.write(
        "t.defaults.yaml",
        "version: 1\nbudgt: {run: 1}\nitems: []\nlimits: {rpm: x}\n"
        "defaults: {prompt: 'a {{ nam }}', output: '../{{ id }}'}\nedits: {e: {}, f: {variants: {v: {}, w: {}}}}\n",
    )
    assert folder.problems("t.csv") == [
        't.csv:2: "quality": \'meduim\' is not one of low, medium, high. Did you mean "medium"? (2 rows, first shown)',
        't.csv:2: "size": 1x1: both sides must be multiples of 16',
        't.csv:2: "image": ROOT/in/gone.png does not exist',
        't.csv:2: "mask": ROOT/m.png does not exist',
        't.defaults.yaml:2:1: "budgt": the manifest has no key \'budgt\'. Did you mean "budget"?',
        't.defaults.yaml:3:1: "items": the rows are in the table beside it',
        "t.defaults.yaml:4:15: \"limits.rpm\": 'x' is not a positive number, auto or none",
        't.defaults.yaml:5:20: "prompt": the template uses {{ nam }}, which is no column or variable here. Known are:'
        " edit, ext, id, image, line, mask, quality, row, size, source, stem, variant (3 rows, first shown)",
        *(
            f"t.defaults.yaml:5:43: \"output\": the output '../{name}' has the component '..', which would leave its"
            " place"
            for name in "abc"
        ),
    ]


def test_a_wrong_id_hides_nothing(folder: Folder) -> None:
    """The rest of the row is checked all the same, and makes no task."""
    folder.write("t.csv", "id,image,quality\na\tb,in/gone.png,lo\nc,in/a.png,\nc,in/gone.png,\n")
    tasks, findings = folder.read("t.csv", prompt="pp")
    assert [task.item.id for task in tasks] == ["c"]
    assert findings.counts == {"bad-id": 1, "missing-image": 2, "bad-quality": 1, "duplicate-id": 1}


def test_a_slip_in_a_prompts_name_is_pointed_out(folder: Folder) -> None:
    """One word that nearly is the name of a prompt would be sent as it stands, and paid for."""
    folder.write("m.yaml", V + "prompts: {recolour: dye it}\nitems: [{id: a, image: in/a.png, prompt: recolor}]\n")
    tasks, findings = folder.read("m.yaml")
    assert tasks[0].prompt == "recolor"
    assert [str(warning) for warning in findings.warnings] == [
        "m.yaml:3:42: \"prompt\": there is no prompt called 'recolor'; the word itself is sent. Did you mean"
        ' "recolour"?'
    ]


def test_a_flag_that_is_not_valid_unicode(folder: Folder) -> None:
    """Bytes of a shell with another encoding."""
    assert folder.problems("in", prompt="a \udcff b") == ["--prompt: is not valid UTF-8"]


def test_what_a_cell_does_to_a_template_names_its_row(prepared: Folder) -> None:
    """The mistake is in the row, and the template is in another file: both are told, and equal ones are one entry."""
    long = 33_000 * "x"
    prepared.write(
        "t.csv", f"id,image,t\na,in/a.png,good\nb,in/b.png,{{{{ x }}}}\nc,in/c.jpg,{{% x %}}\nd,in/a.png,{long}\n"
    )
    prepared.write("m.yaml", V + "defaults: {prompt: 'a {{ t }}', output: '{{ id }}.png'}\nsources: [{csv: t.csv}]\n")
    assert prepared.problems("m.yaml") == [
        'm.yaml:2:20: "prompt": the prompt still has template marks after rendering. It is that of t.csv:3'
        " (2 rows, first shown)",
        'm.yaml:2:20: "prompt": the prompt has 33002 characters; 2 to 32000 are allowed. It is that of t.csv:5',
    ]


def test_columns_that_have_a_fields_name_and_mean_something_else(prepared: Folder) -> None:
    """Sizes of shoes and formats of books: what to write is said, and works; the cell stays a variable."""
    prepared.write(
        "t.csv",
        "id,image,size,format,quality\na,in/a.png,XL,paperback,2nd choice\nb,in/b.png,1000x1000,jpg,hi\nc,in/c.jpg,sqare,,\n",
    )
    prepared.write("m.yaml", V + "defaults: {prompt: 'size {{ size }}'}\nsources: [{csv: t.csv}]\n")
    says = "If this column is about something else, write"
    assert prepared.problems("m.yaml") == [
        f"t.csv:2: \"quality\": '2nd choice' is not one of low, medium, high. {says} quality: high in the source",
        "t.csv:2: \"size\": 'xl' is neither WIDTHxHEIGHT nor one of auto, square_hd, square, portrait_4_3, portrait_16_9,"
        f" landscape_4_3, landscape_16_9. {says} size: auto in the source",
        f"t.csv:2: \"format\": 'paperback' is not one of png, jpeg, webp. {says} format: png in the source",
        f"t.csv:3: \"quality\": 'hi' is not one of low, medium, high. {says} quality: high in the source",
        't.csv:3: "size": 1000x1000: both sides must be multiples of 16',
        "t.csv:4: \"size\": 'sqare' is neither WIDTHxHEIGHT nor one of auto, square_hd, square, portrait_4_3, portrait_16_9,"
        ' landscape_4_3, landscape_16_9. Did you mean "square"?',
    ]
    prepared.write(
        "m.yaml",
        V + "defaults: {prompt: 'size {{ size }}'}\nsources: [{csv: t.csv, size: auto, format: png, quality: high}]\n",
    )
    assert [task.prompt for task in prepared.tasks("m.yaml")] == ["size XL", "size 1000x1000", "size sqare"]


LINE = "provider: runflow, model: m, quality: low, low: '0.01', high: '0.02', source: contract, date: 2026-11-01"
SIZES = "a line is for any_size: true, or for pixels_up_to: NUMBER"


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("", ["p.yaml:1:1: a price list is a mapping with the keys version and lines"]),
        ("- a\n", ["p.yaml:1:1: a price list is a mapping with the keys version and lines"]),
        (
            "lines: []\n",
            [
                'p.yaml:1:1: "version": the key version is missing: a date, such as 2026-11-25',
                'p.yaml:1:1: "lines": the price list has no lines',
            ],
        ),
        (
            f"version: x\ncurrency: EUR\nlinse: []\nlines: [{{{LINE}, any_size: true}}]\n",
            [
                'p.yaml:2:11: "currency": amounts are in US dollars: write USD, or leave it out',
                'p.yaml:3:1: "linse": the price list has no key \'linse\'. Did you mean "lines"?',
            ],
        ),
        (
            f"version: x\nlines:\n- {{{LINE}}}\n- {{{LINE}, any_size: true, pixels_up_to: 9}}\n- {{{LINE}, pixels_up_to: x}}\n- text\n",
            [
                f'p.yaml:3:3: "any_size": {SIZES} (2 rows, first shown)',
                "p.yaml:5:124: \"pixels_up_to\": 'x' is not a number of pixels",
                "p.yaml:6:3: a line is a mapping: provider, model, quality, low, high, source, date, and a size",
            ],
        ),
    ],
)
def test_price_lists(folder: Folder, text: str, problems: list[str]) -> None:
    """Each problem with its line, beside those of the manifest."""
    folder.write("m.yaml", V + "prices: p.yaml\n" + ITEM)
    folder.write("p.yaml", text)
    assert folder.problems("m.yaml") == problems


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("low: '0.01'", "low: '0.03'", "p.yaml:2:72: \"high\": '0.02' is less than low, '0.03'"),
        ("low: '0.01'", "low: a", "p.yaml:2:58: \"low\": 'a' is not an amount in dollars"),
        ("low: '0.01'", "low: 0", 'p.yaml:2:58: "low": a price of 0 would let a budget buy without end'),
        ("quality: low", "quality: lo", "p.yaml:2:48: \"quality\": 'lo' is not one of low, medium, high"),
        ("2026-11-01", "1.11.26", "p.yaml:2:104: \"date\": '1.11.26' is not a date such as 2026-11-25"),
        (", source: contract", "", "p.yaml:2:9: the line has no source"),
    ],
)
def test_lines_of_price_lists(folder: Folder, old: str, new: str, problem: str) -> None:
    """One thing wrong in one line."""
    folder.write("m.yaml", V + "prices: p.yaml\n" + ITEM)
    folder.write("p.yaml", f"version: x\nlines: [{{{LINE}, any_size: true}}]\n".replace(old, new, 1))
    assert folder.problems("m.yaml") == [problem]


def test_two_prices_for_one_thing(folder: Folder) -> None:
    """Which of them would count?"""
    folder.write("m.yaml", V + "prices: p.yaml\n" + ITEM)
    folder.write("p.yaml", f"version: x\nlines:\n- {{{LINE}, any_size: true}}\n- {{{LINE}, any_size: true}}\n")
    assert folder.problems("m.yaml") == ["p.yaml:4:3: another line is for the same provider, model, quality and size"]


@pytest.mark.parametrize(
    ("value", "words"), [("nowhere.yaml", "nowhere.yaml"), ("[a]", "must be text"), ("", "price list")]
)
def test_price_lists_that_are_not_there(folder: Folder, value: str, words: str) -> None:
    """Named wrongly."""
    folder.write("m.yaml", V + f"prices: {value}\n" + ITEM)
    found = folder.problems("m.yaml")
    assert len(found) == 1
    assert words in found[0]
