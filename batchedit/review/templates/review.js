"use strict";
// The review's page, live and as a folder. Texts from outside go into the page as text only, never as HTML.
(() => {
  const PAGE = 500, AHEAD = 4, MOST_VALUES = 14, POLL_SECONDS = 3, RETRY_SECONDS = 2, PACE_MINUTES = 5, AT_ONCE = 500, KEPT_ALIVE = 10000, TOLD = 8;
  const SIGNS = { approved: "✓", rejected: "✗", undecided: "○" };
  const MODES = { side: "Side by side", slider: "Slider", single: "One, hold B" };
  const DIFFERENCE = "difference";
  const HELD = /^(Arrow|[jk[\]b]$)/; // what a held key does again and again; it decides once, as nobody has seen what would come next
  const LOUDER = 2, HOT = "#ff5a00", FAINT = 0.22; // the difference: doubled so often, its colour, how much of the picture shines through
  const KEYS = [
    ["A or P", "approve, and on to the next undecided one"], ["X or R", "reject, and on"],
    ["1 to 9", "reject with this reason, and on"], ["U", "undecided again, and on"], ["Ctrl+Z", "undo"],
    ["N", "note"], ["E", "note how to edit it again: note and prompt; buys nothing"],
    ["← → or K J", "one back, one on; ↑ ↓ a row"], ["Home End", "first, last"],
    ["Enter or Space", "look closely; Esc goes back"], ["S", "side by side, slider, one picture"], ["D", "where the two differ, in orange"],
    ["B", "hold to see the picture before"], ["Z", "100 % at the pointer, both in step"],
    ["[ ]", "the other pictures of this task, looked at closely"],
    ["C", "variants and revisions of this item"], ["Shift+A", "approve all undecided in this filter"],
    ["F, /", "filter, search"], ["?", "these keys"],
  ];
  const BLIND_KEYS = [["1 to 9", "this side is best, and on"], ["0 or T", "a tie, and on"], ["← → or K J", "one back, one on"], ["U, Ctrl+Z", "undo"], ["?", "these keys"]];
  // As report/as_csv.py has it; what comes back is taken apart there.
  const FORMULA = /^[\t\r\n]|(?:^|[\r\n])[\s\x00-\x1f\ufeff\u200b]*[=+\-@|%\uff1d\uff0b\uff0d\uff20]/;
  const $ = (query, root = document) => root.querySelector(query);
  const make = (tag, properties = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties)) {
      if (name.startsWith("aria-") || name.startsWith("data-") || name === "role") element.setAttribute(name, value);
      else element[name] = value;
    }
    element.append(...children);
    return element;
  };
  const number = (value) => value.toLocaleString("en-US");
  const dollars = (micro) => `$${(micro / 1e6).toFixed(micro && micro < 10000 ? 4 : 3)}`;
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

  const block = $("#data");
  const isStatic = block !== null;
  let data = null, cards = [], view = [], at = 0, page = 0, readOnly = false;
  const byId = new Map(), pairs = new Map(), shown = new Map(), chosen = new Map(), preloaded = new Map();
  const undone = [], paces = [];
  let facets = [], words = "", mode = "side", zoom = null, inLoupe = false;

  // ---- keeping decisions ----------------------------------------------------------------------------------------

  const queue = [];
  let isSending = false, isNotice = false; // what the banner says is no matter of saving
  const waiting = () => queue.reduce((sum, job) => sum + job.size, 0);

  function unsaved() {
    const names = [...new Set(queue.flatMap((job) => job.names))];
    return names.slice(0, TOLD).join(", ") + (names.length > TOLD ? `, and ${number(names.length - TOLD)} more` : "");
  }

  function keep(job) {
    if (isStatic) { job.locally(); store(); return; }
    queue.push(job);
    tellSaving();
    send();
  }

  async function send() {
    if (isSending) return;
    isSending = true;
    while (queue.length) {
      const job = queue[0];
      let answer = null;
      try {
        const given = job.body();
        if (given === null) { queue.shift(); tellSaving(); continue; }
        const body = JSON.stringify(given);
        const response = await fetch(job.path, {
          method: "POST", headers: { "content-type": "application/json", "x-batchedit": "review" },
          body, keepalive: body.length < KEPT_ALIVE, // a browser sends so much even while the page is closed
        });
        const told = await response.json().catch(() => ({ error: `the review answered ${response.status}` }));
        if (response.status >= 500) throw new Error(told.error);
        answer = response.ok ? told : { refused: told.error };
      } catch (error) {
        const why = error instanceof TypeError ? "The review does not answer." : error.message;
        // A review that is started again is at another address, so this page cannot hand them over there.
        banner(`Not saved yet: ${number(waiting())} (${unsaved()}). ${why} Tried again every ${RETRY_SECONDS} seconds: keep this page open. If the review has been ended, start it again with \`batchedit review\`, and decide these there.`);
        await new Promise((resolve) => setTimeout(resolve, RETRY_SECONDS * 1000));
        continue;
      }
      queue.shift();
      if (answer.refused) banner(`Not taken: ${answer.refused}`); else if (!isNotice) banner("");
      if (answer.refused) job.refused(); else job.done(answer);
      tellSaving();
    }
    isSending = false;
  }

  function tellSaving() {
    $("#saving").textContent = isStatic ? "" : queue.length ? `saving ${number(waiting())}` : readOnly ? "only to look at" : "saved";
    document.documentElement.dataset.unsaved = String(queue.length);
  }

  addEventListener("beforeunload", (event) => { if (queue.length) event.preventDefault(); });

  const placeOf = () => `batchedit review ${data.report}`;
  function store() {
    const kept = { who: data.who, cards: {}, pairs: {} };
    for (const card of cards) if (card.touched) kept.cards[card.id] = { verdict: card.verdict, reason: card.reason, note: card.note, wish: card.wish, at: card.at };
    for (const pair of data.pairs || []) if (pair.touched) kept.pairs[pair.id] = pair.outcome;
    try { localStorage.setItem(placeOf(), JSON.stringify(kept)); } catch { banner("This browser keeps nothing: save the decisions before you close the page."); }
  }
  function restore() {
    let kept = null;
    try { kept = JSON.parse(localStorage.getItem(placeOf()) || "null"); } catch { return; }
    if (!kept) return;
    data.who = kept.who || data.who;
    for (const card of cards) if (Object.hasOwn(kept.cards, card.id)) Object.assign(card, kept.cards[card.id], { touched: true });
    for (const pair of data.pairs || []) if (Object.hasOwn(kept.pairs, pair.id)) Object.assign(pair, { outcome: kept.pairs[pair.id], touched: true });
  }

  // What stands about a card: the number of that decision, null while it is on its way. An undo may only take back the
  // decision of its own entry, so it sends that number; once it is taken, what stood before stands again, renumbered.
  const standing = (card) => card.standing || (card.standing = { id: card.seen });

  function decide(changes, { undoing = false } = {}) {
    if (readOnly) { banner("This review is only to look at."); return; }
    isNotice = false;
    const entries = changes.map(({ card, own, over }) => {
      const entry = { card, verdict: card.verdict, reason: card.reason, note: card.note, key: card.key, fresh: Boolean(card.fresh), files: card.files, over: standing(card) };
      return undoing ? { ...entry, own: over, undoes: own } : { ...entry, own: { id: null } };
    });
    changes.forEach(({ card, verdict, reason, note, fresh }, index) => {
      card.standing = entries[index].own;
      card.standing.id = null;
      Object.assign(card, { verdict, reason, note, by: data.who, touched: true, fresh: undoing ? fresh : true, at: new Date().toISOString() });
      paint(card);
    });
    if (!undoing) {
      undone.push({ cards: entries });
      const now = performance.now();
      for (const { verdict } of changes) if (verdict !== "undecided") paces.push(now);
    }
    tellCounts();
    for (let first = 0; first < changes.length; first += AT_ONCE) {
      const part = entries.slice(first, first + AT_ONCE);
      const wanted = changes.slice(first, first + AT_ONCE).map(({ verdict, reason, note }, index) => ({ verdict, reason, note, entry: part[index] }));
      let sent = [];
      keep({
        size: part.length, names: part.map(({ card }) => card.item), path: "decide", locally: () => {},
        body: () => {
          sent = wanted.filter(({ entry }) => !undoing || entry.undoes.id !== null); // what was not taken has nothing to undo
          return sent.length ? { decisions: sent.map(({ verdict, reason, note, entry }) => ({ id: entry.card.id, key: entry.key, files: entry.files, verdict, reason, note, ...(undoing ? { seen: entry.undoes.id } : {}) })) } : null;
        },
        done: (answer) => answer.taken.forEach((each, index) => taken(sent[index].entry.card, each, sent[index].entry)),
        refused: () => part.forEach(restored),
      });
    }
  }

  function restored(entry) {
    const { card, verdict, reason, note, fresh } = entry;
    forget(card, entry.key);
    if (card.standing !== entry.own) return;
    card.standing = entry.over;
    Object.assign(card, { verdict, reason, note, fresh });
    paint(card); tellCounts();
  }

  // Steps that cannot be undone any more: somebody else has spoken, or the pictures are others.
  function forget(card, key) {
    for (let index = undone.length - 1; index >= 0; index -= 1) {
      const step = undone[index];
      if (step.cards) step.cards = step.cards.filter((entry) => entry.card !== card || entry.key !== key);
      if (step.cards ? !step.cards.length : step.card === card && step.key === key) undone.splice(index, 1);
    }
  }

  function taken(card, each, entry) {
    if (each.seen !== null) { card.seen = Math.max(card.seen, each.seen); entry.own.id = each.seen; return; }
    forget(card, entry.key);
    banner(`${card.item}: somebody else has decided, or it has another picture by now. It was not changed; look at it again.`);
    if (each.card) refresh(card, each.card);
  }

  function refresh(card, told) {
    const prompt = data.prompts.push(told.prompt) - 1;
    if (told.key !== card.key) data.former += card.cost;
    Object.assign(card, told, { prompt, fresh: false, standing: { id: told.seen } });
    paint(card, true);
    tellCounts();
    if (inLoupe && current() === card) look();
  }

  function undo() {
    const last = undone.pop();
    if (!last) { say("Nothing to undo"); return; }
    if (last.pair) { last.pair.outcome = last.outcome; judge(last.pair, last.outcome, true); pairAt = data.pairs.indexOf(last.pair); showPair(); return; }
    const here = (last.cards || [last]).filter(({ card, key }) => card.key === key); // no step is for other pictures
    if (!here.length) { undo(); return; }
    if (last.wish) { setWish(last.card, last.before, true); go(last.card); return; }
    decide(here, { undoing: true });
    go(here[0].card);
    say(here.length > 1 ? `${number(here.length)} are as before` : `${here[0].card.item} is ${here[0].card.verdict} again`);
  }

  function go(card) {
    const index = view.indexOf(card);
    if (index >= 0) select(index);
  }

  const rule = (card, verdict, reason = "") => ({ card, verdict, reason, note: card.note });

  function verdict(word, reason = "") {
    const card = current();
    if (!card || readOnly) return;
    decide([rule(card, word, reason)]);
    say(`${card.item}: ${word}${reason ? `, ${reason}` : ""}`);
    onward(word === "undecided");
  }

  function onward(any = false) {
    for (let step = 1; step < view.length; step += 1) {
      const index = (at + step) % view.length;
      if (any || view[index].verdict === "undecided") { select(index); return; }
    }
    select(at);
    if (!any) say("Everything in this filter is decided");
  }

  // ---- words ----------------------------------------------------------------------------------------------------

  function banner(text) { $("#banner").textContent = text; $("#banner").hidden = !text; }
  function say(text) { $("#live").textContent = text; }

  let isCounting = false;
  function tellCounts() {
    if (isCounting) return;
    isCounting = true;
    setTimeout(() => { isCounting = false; count(); countFacets(); }, 60);
  }

  function count() {
    const all = data.blind ? data.pairs.map((pair) => ({ verdict: pair.outcome === null ? "undecided" : "approved", cost: 0 })) : cards;
    const sums = { approved: 0, rejected: 0, undecided: 0 };
    let spent = data.former || 0; // on the pictures that tasks had before
    for (const each of all) { sums[each.verdict] += 1; spent += each.cost; }
    const told = $("#counts");
    if (data.blind) told.replaceChildren(make("b", {}, number(sums.undecided)), " to compare, ", make("b", {}, number(sums.approved)), " done");
    else {
      told.replaceChildren(make("b", {}, number(sums.undecided)), " undecided · ", make("b", { className: "approved" }, `✓ ${number(sums.approved)}`), " approved · ", make("b", { className: "rejected" }, `✗ ${number(sums.rejected)}`), " rejected");
      if (sums.approved && spent) told.append(make("span", { className: "each" }, ` · ${dollars(spent / sums.approved)} for each approved`));
      if (inLoupe) tellPlace();
    }
    for (const name of Object.keys(sums)) $(`#progress .${name}`).style.flexGrow = String(sums[name]);
    $("#progress").setAttribute("aria-label", `${sums.approved} approved, ${sums.rejected} rejected, ${sums.undecided} undecided`);
    const now = performance.now(), since = now - PACE_MINUTES * 60000;
    while (paces.length && paces[0] < since) paces.shift();
    const minutes = paces.length > 2 ? Math.max((now - paces[0]) / 60000, 0.05) : 0;
    const perMinute = minutes ? paces.length / minutes : 0;
    const left = perMinute ? sums.undecided / perMinute : 0;
    $("#pace").textContent = perMinute ? `${perMinute.toFixed(perMinute < 10 ? 1 : 0)} a minute${sums.undecided ? `, ${left < 1 ? "under a minute" : left < 90 ? `${Math.ceil(left)} min` : `${(left / 60).toFixed(1)} h`} left` : ""}` : "";
  }

  // ---- filters --------------------------------------------------------------------------------------------------

  const COSTS = [[20000, "up to $0.02"], [50000, "up to $0.05"], [100000, "up to $0.10"], [200000, "up to $0.20"], [Infinity, "above $0.20"]];
  const costOf = (card) => card.cost ? COSTS.find(([most]) => card.cost <= most)[1] : "shared, or free";

  // What was decided here was decided knowing these.
  const isStale = (card) => Boolean(card.start) && !(card.fresh && card.verdict === "approved");
  const isAnew = (card) => card.anew && !card.fresh;

  function makeFacets() {
    const labels = new Set();
    for (const card of cards) for (const name of Object.keys(card.labels)) labels.add(name);
    facets = [
      { name: "verdict", title: "Verdict", of: (card) => [card.verdict], order: ["undecided", "approved", "rejected"] },
      { name: "check", title: "Checks", of: (card) => card.checks.length ? [...new Set(card.checks.map((check) => check[1]))] : ["nothing found"], order: ["failed", "warned", "nothing found"] },
      { name: "finding", title: "What a check found", of: (card) => [...new Set(card.checks.map((check) => check[0]))] },
      { name: "reason", title: "Rejected because of", of: (card) => card.verdict === "rejected" && card.reason ? [card.reason] : [] },
      { name: "start", title: "Made from", of: (card) => [isStale(card) ? `a ${card.start[1]} picture` : "what is there now"] },
      { name: "anew", title: "Since the verdict", of: (card) => [isAnew(card) ? "made anew since" : "as it was seen"] },
      { name: "wish", title: "Re-edit", of: (card) => [card.wish ? "noted" : "not noted"] },
      { name: "edit", title: "Edit", of: (card) => [card.edit] },
      { name: "variant", title: "Variant", of: (card) => [card.variant || "(none)"] },
      ...[...labels].sort().map((name) => ({ name: `label ${name}`, title: name, of: (card) => [Object.hasOwn(card.labels, name) ? card.labels[name] : "(none)"] })),
      { name: "revision", title: "Revision", of: (card) => [card.revision > 1 ? "bought again" : "first"] },
      { name: "cost", title: "Cost", of: (card) => [costOf(card)], order: [...COSTS.map((each) => each[1]), "shared, or free"] },
    ];
    for (const facet of facets) chosen.set(facet.name, new Set());
  }

  const fits = (card, facet) => { const wanted = chosen.get(facet.name); return !wanted.size || facet.of(card).some((value) => wanted.has(value)); };
  function hasWords(card) {
    if (!words) return true;
    const text = `${card.item}\n${card.slot}\n${data.prompts[card.prompt]}\n${card.note}\n${card.reason}\n${Object.values(card.labels).join("\n")}`.toLocaleLowerCase();
    return words.split(/\s+/).every((word) => text.includes(word));
  }

  function filter(keepPlace = true) {
    const before = current();
    view = cards.filter((card) => hasWords(card) && facets.every((facet) => fits(card, facet)));
    at = Math.max(0, keepPlace && before ? view.indexOf(before) : 0);
    if (!keepPlace) { const index = view.findIndex((card) => card.verdict === "undecided"); if (index >= 0) at = index; }
    page = Math.floor(at / PAGE);
    draw();
    countFacets();
  }

  function countFacets() {
    if (data.blind) return;
    const counts = new Map(facets.map((facet) => [facet.name, new Map()]));
    let differing = 0;
    const add = (facet, card, by) => { const map = counts.get(facet.name); for (const value of facet.of(card)) map.set(value, (map.get(value) || 0) + by); };
    for (const card of cards) {
      const misses = facets.filter((facet) => !fits(card, facet));
      const found = hasWords(card);
      for (const facet of facets) add(facet, card, found && (!misses.length || (misses.length === 1 && misses[0] === facet)) ? 1 : 0);
    }
    for (const card of view) if (!facets.every((facet) => fits(card, facet))) differing += 1;
    const active = document.activeElement && document.activeElement.closest("#facets") ? document.activeElement.dataset.at : null;
    $("#facets").replaceChildren(...facets.flatMap((facet) => {
      const found = counts.get(facet.name), wanted = chosen.get(facet.name);
      const values = facet.order ? facet.order.filter((value) => found.has(value)) : [...found.keys()].sort((a, b) => found.get(b) - found.get(a) || a.localeCompare(b));
      if (values.length < 2 && !wanted.size) return [];
      const some = values.filter((value, index) => index < MOST_VALUES || wanted.has(value));
      return [make("fieldset", {}, make("legend", {}, facet.title), ...some.map((value) => {
        const box = make("input", { type: "checkbox", checked: wanted.has(value), "data-at": `${facet.name}\n${value}` });
        box.addEventListener("change", () => { if (box.checked) wanted.add(value); else wanted.delete(value); filter(); });
        return make("label", { className: found.get(value) ? "" : "none" }, box, make("span", {}, SIGNS[value] && facet.name === "verdict" ? `${SIGNS[value]} ${value}` : value), make("span", { className: "n" }, number(found.get(value))));
      }), ...(some.length < values.length ? [make("p", { className: "n" }, `and ${number(values.length - some.length)} more: search`)] : []))];
    }));
    if (active !== null) { const box = [...$("#facets").querySelectorAll("input")].find((each) => each.dataset.at === active); if (box) box.focus(); }
    const again = $("#again");
    again.hidden = !differing;
    again.textContent = `${number(differing)} no longer fit this filter: leave them out`;
  }

  // ---- the grid -------------------------------------------------------------------------------------------------

  const current = () => view[at];
  const url = (id, which, size) => isStatic ? `pictures/${id}-${which}-${size === "full" && !data.full ? "screen" : size}.${size === "full" && data.full ? "img" : "webp"}` : `picture/${id}/${which}/${size}${state(id)}`;
  // Another address once the files are others, so that a browser does not show those that it has kept.
  const state = (id) => byId.has(id) ? `?of=${byId.get(id).key}${byId.get(id).files}` : pairs.has(id) ? `?of=${pairs.get(id).files}` : "";

  const picturesOf = (count, whichOf, alt) => {
    const box = make("div", { className: count > 1 ? "files" : "" });
    for (let each = 1; each <= count; each += 1) box.append(make("img", { alt: count > 1 ? `${alt}, picture ${each} of ${count}` : alt, src: whichOf(each) }));
    return box;
  };

  const nameOf = (card) => [card.edit === "edit" ? "" : card.edit, card.variant].filter(Boolean).join(" · ");
  const verdictOf = (card) => `${SIGNS[card.verdict]} ${card.verdict}${card.reason ? `: ${card.reason}` : ""}`;
  const labelsOf = (card) => Object.entries(card.labels).map(([name, value]) => `${name} ${value}`).join(", ");

  function draw() {
    const first = page * PAGE, part = view.slice(first, first + PAGE);
    shown.clear();
    $("#grid").replaceChildren(...part.map((card) => { const element = tile(card); shown.set(card.id, element); return element; }));
    tellFound();
    $("#empty").hidden = view.length > 0;
    $("#empty").textContent = "Nothing fits this filter.";
    $("#grid").hidden = !view.length;
    $("#grid").scrollTop = 0;
    mark(true);
  }

  function tellFound() {
    const first = page * PAGE, pages = Math.max(1, Math.ceil(view.length / PAGE));
    const all = `${number(cards.length)} ${cards.length === 1 ? "picture" : "pictures"}`;
    $("#found").textContent = (view.length === cards.length ? all : `${number(view.length)} of ${all}`) + (came ? `, ${number(came)} new at the end` : "");
    $("#pager").hidden = pages < 2;
    $("#pager span").textContent = `${number(first + 1)} to ${number(Math.min(view.length, first + PAGE))}`;
    for (const button of $("#pager").querySelectorAll("button")) { const next = page + Number(button.dataset.step); button.disabled = next < 0 || next >= pages; }
  }

  function tile(card) {
    const pair = make("div", { className: "pair" });
    if (card.before) pair.append(make("img", { loading: "lazy", decoding: "async", fetchPriority: "low", alt: "before", src: url(card.id, "before", "small") }));
    pair.append(make("img", { loading: "lazy", decoding: "async", fetchPriority: "low", alt: `after: ${card.item}`, src: url(card.id, "1", "small") }));
    const element = make("div", { className: card.before ? "card" : "card alone", id: `c-${card.id}`, role: "option", "aria-selected": "false" },
      pair, make("p", { className: "name", title: card.slot }, card.item), make("p", { className: "more" }), make("p", { className: "signs" }));
    element.addEventListener("click", () => { select(view.indexOf(card)); $("#grid").focus({ preventScroll: true }); });
    element.addEventListener("dblclick", () => open());
    dress(card, element);
    return element;
  }

  function dress(card, element) {
    element.dataset.verdict = card.verdict;
    element.setAttribute("aria-label", `${card.item}${nameOf(card) ? `, ${nameOf(card)}` : ""}: ${card.verdict}${card.reason ? ` because of ${card.reason}` : ""}${card.checks.length ? `; ${card.checks.length} warnings` : ""}`);
    $(".more", element).textContent = [nameOf(card), labelsOf(card)].filter(Boolean).join(" · ") || dollars(card.cost);
    const signs = [make("span", { className: `v-${card.verdict}` }, verdictOf(card))];
    if (card.count > 1) signs.push(make("span", { className: "several-files" }, `${card.count} pictures`));
    if (isStale(card)) signs.push(make("span", { className: "stale", title: `made from the picture of ${card.start[0]}, which was ${card.start[1]} since` }, `⚠ from a ${card.start[1]} one`));
    if (isAnew(card)) signs.push(make("span", { className: "stale", title: "its file was made anew since the verdict, and is another one" }, "↻ made anew"));
    if (card.wish) signs.push(make("span", { title: "a re-edit is noted" }, "✎ re-edit"));
    if (card.note) signs.push(make("span", { title: card.note }, "✉ note"));
    if (card.checks.length) signs.push(make("span", { className: "warn", title: card.checks.map((check) => check.join(": ")).join("\n") }, `⚠ ${card.checks[0][0]}${card.checks.length > 1 ? ` +${card.checks.length - 1}` : ""}`));
    $(".signs", element).replaceChildren(...signs);
  }

  function paint(card, anew = false) {
    const element = shown.get(card.id);
    if (element && anew) { const fresh = tile(card); element.replaceWith(fresh); shown.set(card.id, fresh); mark(false); } else if (element) dress(card, element);
    if (inLoupe && current() === card) describe(card);
  }

  function select(index) {
    if (!view.length) return;
    at = Math.min(Math.max(index, 0), view.length - 1);
    if (Math.floor(at / PAGE) !== page) { page = Math.floor(at / PAGE); draw(); } else mark(true);
    if (inLoupe) look();
  }

  let marked = null;
  function mark(scroll) {
    if (marked) marked.setAttribute("aria-selected", "false");
    const card = current();
    marked = card ? shown.get(card.id) || null : null;
    if (!marked) { $("#grid").removeAttribute("aria-activedescendant"); return; }
    marked.setAttribute("aria-selected", "true");
    $("#grid").setAttribute("aria-activedescendant", marked.id);
    if (scroll) marked.scrollIntoView({ block: "nearest" });
  }

  function columns() {
    const tiles = $("#grid").children;
    let wide = 1;
    while (wide < tiles.length && tiles[wide].offsetTop === tiles[0].offsetTop) wide += 1;
    return wide;
  }

  // ---- one picture ----------------------------------------------------------------------------------------------

  function open() {
    if (!current()) return;
    inLoupe = true;
    $("#loupe").hidden = false;
    look();
    $("#loupe").focus({ preventScroll: true });
  }

  function close() {
    inLoupe = false;
    unzoom();
    $("#loupe").hidden = true;
    mark(true);
    $("#grid").focus({ preventScroll: true });
  }

  let file = 1;
  function look() {
    const card = current();
    if (!card) { close(); return; }
    unzoom();
    file = 1;
    $("#stage").classList.toggle("alone", !card.before);
    show($("#before img"), card.before ? url(card.id, "before", "screen") : "", `${card.item} before`);
    showFile(card);
    $("#loupe").dataset.id = card.id;
    describe(card);
    $("#prompt").open = false; $("#history").open = false;
    preload();
  }

  function showFile(card) {
    show($("#after img"), url(card.id, String(file), "screen"), `${card.item} after${card.count > 1 ? `, picture ${file} of ${card.count}` : ""}`);
    $("#files").hidden = card.count < 2;
    $("#which").textContent = `picture ${file} of ${card.count}; the verdict is about all of them`;
    for (const button of $("#files").querySelectorAll("button")) { const next = file + Number(button.dataset.file); button.disabled = next < 1 || next > card.count; }
    differ();
  }

  function turn(step) {
    const card = current();
    if (!card || file + step < 1 || file + step > card.count) return;
    unzoom();
    file += step;
    showFile(card);
    say(`picture ${file} of ${card.count}`);
  }

  function show(image, source, alt) {
    image.alt = alt;
    if (!source) image.removeAttribute("src");
    else if (image.getAttribute("src") !== source) image.src = source;
    // Until a picture is there a browser goes on showing the one before, under the name of this one.
    image.classList.toggle("coming", Boolean(source) && !image.complete);
  }

  function preload() {
    const wanted = new Map();
    for (let step = 1; step <= view.length && wanted.size < 2 * AHEAD; step += 1) {
      const card = view[(at + step) % view.length];
      if (card === current() || (step > 1 && card.verdict !== "undecided")) { if (step > 400) break; continue; }
      for (const which of card.before ? ["1", "before"] : ["1"]) {
        const source = url(card.id, which, "screen");
        let image = preloaded.get(source);
        if (!image) { image = new Image(); image.src = source; image.decode().catch(() => {}); }
        wanted.set(source, image);
      }
    }
    preloaded.clear();
    for (const [source, image] of wanted) preloaded.set(source, image);
  }

  function tellPlace() {
    const open = view.reduce((sum, card) => sum + (card.verdict === "undecided"), 0);
    $("#place").textContent = `${number(at + 1)} of ${number(view.length)}, ${number(open)} undecided`;
  }

  function describe(card) {
    tellPlace();
    $("#open").hidden = card.verdict === "undecided";
    $("#item").textContent = card.item;
    $("#what").textContent = [nameOf(card), labelsOf(card), card.cost ? dollars(card.cost) : "", card.size[0] ? `${card.size[0]} × ${card.size[1]}` : "", card.revision > 1 ? `revision ${card.revision}` : "", card.count > 1 ? `${card.count} pictures` : ""].filter(Boolean).join(" · ");
    $("#verdict").className = `v-${card.verdict}`;
    $("#verdict").textContent = verdictOf(card) + (card.verdict !== "undecided" && card.by ? ` (${card.by})` : "");
    $("#said").textContent = card.note ? `Note: ${card.note}` : "";
    $("#wished").textContent = card.wish ? `To be edited again${card.wish[1] ? `: ${card.wish[1]}` : ""}${card.wish[0] ? `; with the prompt: ${card.wish[0]}` : ""}` : "";
    const since = [];
    if (isStale(card)) since.push(`⚠ Made from the picture of ${card.start[0]}, which was ${card.start[1]} since. \`deliver\` takes it only if somebody approves it knowing that.`);
    if (isAnew(card)) since.push("↻ Its file was made anew since the verdict (another size, format or name of `post`), and is another one. The verdict holds.");
    $("#warnings").replaceChildren(...since.map((text) => make("li", {}, text)), ...card.checks.map(([name, found, measured]) => make("li", {}, `⚠ ${name} ${found}: ${measured}`)));
    $("#prompt p").textContent = data.prompts[card.prompt];
    for (const button of $("#reasons").querySelectorAll("button")) button.setAttribute("aria-pressed", String(card.verdict === "rejected" && card.reason === button.dataset.reason));
    tellMode();
    $("#mode").disabled = $("#differ").disabled = !card.before;
    $("#history").hidden = isStatic;
  }

  async function tellHistory() {
    const card = current();
    if (!$("#history").open || isStatic || !card) return;
    const told = await ask(`card/${card.id}`);
    if (!told || current() !== card) return;
    $("#history ol").replaceChildren(...told.history.map((each) => make("li", {}, `${each.at.slice(0, 16).replace("T", " ")} ${each.by || "somebody"}: ${each.verdict}${each.reason ? `, ${each.reason}` : ""}${each.note ? ` (${each.note})` : ""}${each.is_current ? "" : ", about an older picture"}`)));
    if (!told.history.length) $("#history ol").replaceChildren(make("li", {}, "Nobody has said anything."));
  }

  function cycle() {
    const names = Object.keys(MODES);
    changeMode(names[(names.indexOf(mode) + 1) % names.length]); // from the difference: to the first one
  }

  function changeMode(name) {
    mode = name;
    $("#stage").dataset.mode = mode;
    tellMode();
    if (mode === DIFFERENCE) unzoom();
    slide(50);
    differ();
    if (zoom) place();
  }

  function tellMode() {
    $("#mode").textContent = MODES[mode] || MODES[modeBefore];
    $("#differ").setAttribute("aria-pressed", String(mode === DIFFERENCE));
  }

  let modeBefore = "side";
  function toggleDifference() {
    if (mode === DIFFERENCE) changeMode(modeBefore); else { modeBefore = mode; changeMode(DIFFERENCE); }
    say(MODES[mode] || "Where the two differ");
  }

  // Where the two differ, from the pictures that the page has: drawn over each other, so that nothing is read out of
  // them, which a page from a folder could not do.
  async function differ() {
    const card = current(), canvas = $("#difference"), which = file;
    delete canvas.dataset.of;
    canvas.hidden = $("#differs").hidden = mode !== DIFFERENCE || !card || !card.before;
    if (canvas.hidden) return;
    canvas.width = canvas.height = 1; // nothing of the picture before
    const before = $("#before img"), after = $("#after img");
    try { await Promise.all([before.decode(), after.decode()]); } catch { canvas.hidden = $("#differs").hidden = true; return; }
    if (mode !== DIFFERENCE || current() !== card || file !== which) return;
    const wide = canvas.width = after.naturalWidth, high = canvas.height = after.naturalHeight;
    const brush = canvas.getContext("2d");
    const scale = Math.min(wide / before.naturalWidth, high / before.naturalHeight);
    const w = before.naturalWidth * scale, h = before.naturalHeight * scale;
    const fill = (colour, how) => { brush.globalCompositeOperation = how; brush.fillStyle = colour; brush.fillRect(0, 0, wide, high); };
    fill("#fff", "source-over");
    brush.drawImage(before, (wide - w) / 2, (high - h) / 2, w, h);
    const ground = document.createElement("canvas");
    ground.width = wide; ground.height = high;
    const under = ground.getContext("2d");
    under.fillStyle = "#fff"; under.fillRect(0, 0, wide, high); under.drawImage(after, 0, 0);
    brush.globalCompositeOperation = "difference";
    brush.drawImage(ground, 0, 0);
    fill("#888", "saturation"); // how much, not which colour
    brush.globalCompositeOperation = "lighter";
    for (let time = 0; time < LOUDER; time += 1) brush.drawImage(canvas, 0, 0);
    fill(HOT, "multiply");
    under.globalCompositeOperation = "saturation"; under.fillStyle = "#888"; under.fillRect(0, 0, wide, high);
    brush.globalCompositeOperation = "lighter"; brush.globalAlpha = FAINT;
    brush.drawImage(ground, 0, 0);
    brush.globalAlpha = 1;
    canvas.dataset.of = `${card.id}-${which}`;
  }

  function slide(percent) {
    const value = Math.min(100, Math.max(0, Math.round(percent)));
    $("#slider").value = String(value);
    $("#stage").style.setProperty("--at", String(value / 100));
    $("#after").style.clipPath = mode === "slider" && current() && current().before ? `inset(0 0 0 ${value}%)` : "";
  }

  // 100 %: one pixel of the picture after is one of the screen; the picture before has the same width. Both show the
  // same part, by the share of width and height that the pointer was at.
  function toggleZoom(event) {
    if (zoom) { unzoom(); return; }
    if (mode === DIFFERENCE) changeMode(modeBefore);
    const card = current(), image = $("#after img"), box = image.getBoundingClientRect();
    if (!image.naturalWidth) return;
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const wide = image.naturalWidth * scale, high = image.naturalHeight * scale;
    const within = (value) => Math.min(1, Math.max(0, value));
    const pane = event && event.target.closest ? event.target.closest("figure") : null;
    const corner = (pane || $("#after")).getBoundingClientRect();
    const x = event ? within((event.clientX - corner.left - (box.width - wide) / 2) / wide) : 0.5;
    const y = event ? within((event.clientY - corner.top - (box.height - high) / 2) / high) : 0.5;
    zoom = { x, y, wide: 0 };
    $("#stage").classList.add("zoomed");
    for (const [name, which] of [["#after img", String(file)], ["#before img", "before"]]) {
      if (which === "before" && !card.before) continue;
      const full = new Image();
      full.src = url(card.id, which, "full");
      full.decode().then(() => { if (zoom && current() === card) { $(name).src = full.src; $(name).decode().catch(() => {}).then(place); } }, () => {});
    }
    place();
  }

  function place() {
    if (!zoom) return;
    const after = $("#after img"), ratio = devicePixelRatio || 1;
    for (const name of ["#after img", "#before img"]) {
      const image = $(name), pane = image.parentElement;
      if (!image.naturalWidth) continue;
      const wide = after.naturalWidth / ratio, high = wide * image.naturalHeight / image.naturalWidth;
      image.style.width = `${wide}px`;
      image.style.transform = `translate(${Math.round(pane.clientWidth / 2 - zoom.x * wide)}px, ${Math.round(pane.clientHeight / 2 - zoom.y * high)}px)`;
      zoom.wide = wide; zoom.high = high;
    }
  }

  function unzoom() {
    if (!zoom) return;
    zoom = null;
    $("#stage").classList.remove("zoomed");
    for (const name of ["#after img", "#before img"]) { $(name).style.width = ""; $(name).style.transform = ""; }
  }

  async function ask(path) {
    try {
      const response = await fetch(path);
      const told = await response.json();
      if (!response.ok) { banner(told.error || "That is not there."); return null; }
      return told;
    } catch { banner("The review does not answer. Start it again with `batchedit review`."); return null; }
  }

  async function compare() {
    const card = current();
    if (!card) return;
    let revisions = [];
    let others = cards.filter((each) => each.item === card.item);
    if (!isStatic) {
      const told = await ask(`card/${card.id}`);
      if (!told) return;
      revisions = told.revisions.filter((each) => !each.is_current && each.count);
      others = told.others.map((id) => byId.get(id)).filter(Boolean);
    }
    const figures = others.map((each) => {
      const figure = make("figure", { className: each === card ? "is" : "" }, picturesOf(each.count, (which) => url(each.id, String(which), "screen"), `${each.item} ${nameOf(each)}`),
        make("figcaption", {}, make("b", {}, nameOf(each) || each.item), ` ${verdictOf(each)} · ${dollars(each.cost)}`));
      figure.addEventListener("click", () => { shut(); go(each); });
      return figure;
    });
    if (card.before) figures.unshift(make("figure", {}, make("img", { alt: "before", src: url(card.id, "before", "screen") }), make("figcaption", {}, make("b", {}, "before"))));
    for (const each of revisions) figures.push(make("figure", {}, picturesOf(each.count, (which) => url(card.id, `r${each.revision}${which > 1 ? `-${which}` : ""}`, "screen"), `revision ${each.revision}`),
      make("figcaption", {}, make("b", {}, `revision ${each.revision}`), ` ${each.verdict || "undecided"}${each.reason ? `: ${each.reason}` : ""} · ${dollars(each.cost)}`, make("br"), each.prompt)));
    const shut = () => { $("#compared").hidden = true; (inLoupe ? $("#loupe") : $("#grid")).focus({ preventScroll: true }); };
    const button = make("button", { type: "button" }, "Back");
    button.addEventListener("click", shut);
    $("#compared").replaceChildren(make("div", { className: "row" }, button, make("h2", {}, card.item)), make("div", { className: "several" }, ...figures));
    $("#compared").hidden = false;
    $("#compared").focus({ preventScroll: true });
  }

  // ---- questions ------------------------------------------------------------------------------------------------

  let answer = null;
  function question({ title, text = "", prompt = null, note = null, yes = "Save", then }) {
    $("#ask-title").textContent = title; $("#ask-text").textContent = text; $("#ask-yes").textContent = yes;
    for (const [name, value] of [["#ask-prompt", prompt], ["#ask-note", note]]) { $(name).hidden = value === null; $("textarea", $(name)).value = value || ""; }
    answer = () => then($("#ask-prompt textarea").value.trim(), $("#ask-note textarea").value.trim());
    $("#ask").showModal();
    const first = prompt !== null ? $("#ask-prompt textarea") : note !== null ? $("#ask-note textarea") : $("#ask-yes");
    first.focus();
  }

  // What is said is about the pictures that were there when the question was asked.
  const asSeen = (card) => { const { key, files } = card; return () => card.key === key && card.files === files; };
  const tellAnother = (card) => banner(`${card.item} has another picture by now. Nothing was noted; look at it again.`);

  function askNote() {
    const card = current();
    if (!card || readOnly) return;
    const isSame = asSeen(card);
    question({ title: `Note on ${card.item}`, note: card.note, then: (_, note) => isSame() ? decide([{ card, verdict: card.verdict, reason: card.reason, note }]) : tellAnother(card) });
  }

  function askWish() {
    const card = current();
    if (!card || readOnly) return;
    const isSame = asSeen(card);
    question({
      title: `Edit ${card.item} again`, text: "Noted, not bought: `batchedit reedit MANIFEST --from-notes` shows what it costs and buys it. Empty both to take it back.",
      prompt: card.wish ? card.wish[0] : data.prompts[card.prompt], note: card.wish ? card.wish[1] : "",
      then: (prompt, note) => isSame() ? setWish(card, prompt || note ? [prompt, note] : null) : tellAnother(card),
    });
  }

  function setWish(card, wish, undoing = false) {
    const key = card.key, before = card.wish;
    if (!undoing) undone.push({ wish: true, card, before, key });
    card.wish = wish; card.touched = true;
    paint(card); tellCounts();
    keep({
      size: 1, names: [card.item], path: "wish", locally: () => {}, body: () => ({ id: card.id, key, prompt: wish ? wish[0] : "", note: wish ? wish[1] : "" }),
      done: (told) => { if (told.seen === null) taken(card, told, { key }); },
      refused: () => { forget(card, key); if (card.wish === wish) { card.wish = before; paint(card); tellCounts(); } },
    });
  }

  function approveAll() {
    const open = view.filter((card) => card.verdict === "undecided");
    if (!open.length || readOnly) { say("Nothing here is undecided"); return; }
    const same = new Map(open.map((card) => [card, asSeen(card)]));
    const approve = () => {
      const left = open.filter((card) => card.verdict === "undecided" && same.get(card)());
      if (left.length) decide(left.map((card) => rule(card, "approved")));
      if (left.length === open.length) return;
      isNotice = true;
      banner(`${number(open.length - left.length)} of them were left out: somebody else has decided meanwhile, or they have another picture by now.`);
    };
    question({ title: `Approve ${number(open.length)} pictures?`, text: `All that are undecided in this filter, seen or not. Ctrl+Z takes it back.`, yes: `Approve ${number(open.length)}`, then: approve });
  }

  // ---- blind comparisons ----------------------------------------------------------------------------------------

  let pairAt = 0;
  const sideOf = (side, which) => which > 1 ? `${side}-${which}` : String(side);
  function showPair() {
    const pair = data.pairs[pairAt], place = $("#blind");
    if (!pair) { end(); return; }
    const sides = make("div", { className: "sides" });
    if (pair.before) sides.append(make("figure", { className: "source" }, make("img", { alt: "before", src: url(pair.id, "before", "screen") }), make("figcaption", {}, "before")));
    for (let side = 1; side <= pair.sides; side += 1) {
      const button = make("button", { type: "button", className: "side", "aria-pressed": String(pair.outcome === side) }, make("kbd", {}, String(side)), pair.outcome === side ? "best ✓" : "is best");
      button.addEventListener("click", () => choose(side));
      sides.append(make("figure", { className: pair.outcome === side ? "chosen" : "", "data-side": side }, picturesOf(pair.counts[side - 1], (which) => url(pair.id, sideOf(side, which), "screen"), `side ${side}`), button));
    }
    const buttons = [["0", pair.outcome === 0 ? "Tie ✓" : "Tie", () => choose(0)], ["K", "Back", () => stepPair(-1)], ["J", "Next", () => stepPair(1)]].map(([key, name, act]) => { const button = make("button", { type: "button" }, make("kbd", {}, key), name); button.addEventListener("click", act); return button; });
    const finish = make("button", { type: "button" }, "Show the result");
    finish.addEventListener("click", end);
    place.replaceChildren(make("div", { className: "row" }, make("h2", {}, pair.item), make("span", { className: "n" }, `${number(pairAt + 1)} of ${number(data.pairs.length)}`), ...buttons, finish), sides,
      make("p", { className: "note" }, "Which one is best? The sides are shuffled, and their names are told when all are compared."));
    const next = data.pairs[pairAt + 1];
    if (next) for (let side = 1; side <= next.sides; side += 1) for (let which = 1; which <= next.counts[side - 1]; which += 1) new Image().src = url(next.id, sideOf(side, which), "screen");
  }

  function choose(side) {
    const pair = data.pairs[pairAt];
    if (!pair || readOnly || side > pair.sides) return;
    undone.push({ pair, outcome: pair.outcome });
    paces.push(performance.now());
    judge(pair, side);
    const next = data.pairs.findIndex((each, index) => index > pairAt && each.outcome === null);
    const first = next >= 0 ? next : data.pairs.findIndex((each) => each.outcome === null);
    if (first < 0) { pairAt = data.pairs.length; } else pairAt = first;
    showPair();
  }

  function judge(pair, outcome, undoing = false) {
    const before = undoing ? null : pair.outcome;
    pair.outcome = outcome; pair.touched = true;
    tellCounts();
    const back = () => { if (pair.outcome !== outcome) return; pair.outcome = before; tellCounts(); if (data.pairs[pairAt] === pair) showPair(); };
    keep({
      size: 1, names: [pair.item], path: "compare", locally: () => {}, body: () => ({ id: pair.id, request: pair.key, files: pair.files, winner: outcome }), refused: back,
      done: (told) => { if (told.compared === null) { back(); banner(`${pair.item}: one of its pictures is another one by now. That was not taken: load the page again, and compare them as they are.`); } },
    });
  }

  function stepPair(step) { pairAt = Math.min(data.pairs.length - 1, Math.max(0, pairAt + step)); showPair(); }

  async function end() {
    const place = $("#blind"), left = data.pairs.filter((pair) => pair.outcome === null).length;
    const back = make("button", { type: "button" }, "Back to the comparisons");
    back.addEventListener("click", () => { const open = data.pairs.findIndex((pair) => pair.outcome === null); pairAt = Math.max(0, open); showPair(); });
    if (left) { place.replaceChildren(make("h2", {}, `${number(left)} are still to be compared`), make("p", { className: "note" }, "The names are told when all are compared."), back); return; }
    if (isStatic) { place.replaceChildren(make("h2", {}, "All are compared"), make("p", { className: "note" }, "Save the decisions and send the file back; whoever imports it sees the result."), back); return; }
    place.replaceChildren(make("h2", {}, "All are compared"), make("p", { className: "note" }, "One moment."), back);
    while (queue.length) await new Promise((resolve) => setTimeout(resolve, 50));
    const told = await ask("results");
    if (!told) return;
    const percent = (value) => `${Math.round(100 * value)} %`;
    const rows = told.variants.map((each) => make("tr", {}, ...[each.edit, each.variant || "(none)", `${each.wins} of ${each.shown}`, String(each.ties), each.share ? `${percent(each.share[1])} (${percent(each.share[0])} to ${percent(each.share[2])})` : "", each.each ? `$${each.each}` : ""].map((text) => make("td", {}, text))));
    place.replaceChildren(make("h2", {}, "The result"), make("table", {}, make("thead", {}, make("tr", {}, ...["edit", "variant", "won", "ties", "wins, ties left out", "each picture"].map((text) => make("th", {}, text)))), make("tbody", {}, ...rows)), make("p", { className: "note" }, told.method), back);
  }

  // ---- a folder's decisions as a file ---------------------------------------------------------------------------

  function saved() {
    return {
      format: "batchedit review", version: 1, report: data.report, who: data.who, seed: data.seed,
      decisions: cards.filter((card) => card.touched).map((card) => ({ id: card.id, request: card.key, files: card.files, seen: card.seen, verdict: card.verdict, reason: card.reason, note: card.note, reedit_prompt: card.wish ? card.wish[0] : "", reedit_note: card.wish ? card.wish[1] : "", at: card.at || "" })),
      comparisons: (data.pairs || []).filter((pair) => pair.touched && pair.outcome !== null).map((pair) => ({ id: pair.id, sides: pair.sides, request: pair.key, winner: pair.outcome })),
    };
  }
  function download(name, type, text) {
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
    document.body.append(link); link.click(); link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }
  function asCsv() {
    const names = ["report", "slot", "seen", "verdict", "reason", "note", "who", "reedit_prompt", "reedit_note", "request", "files"];
    const guarded = (text) => FORMULA.test(text.replace(/^'+/, "")) ? `'${text}` : text;
    const cell = (text) => `"${guarded(String(text)).replaceAll('"', '""')}"`;
    const rows = cards.filter((card) => card.touched).map((card) => [data.report, card.slot, card.seen, card.verdict, card.reason, card.note, data.who, card.wish ? card.wish[0] : "", card.wish ? card.wish[1] : "", card.key, card.files]);
    return [names, ...rows].map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
  }

  // ---- news -----------------------------------------------------------------------------------------------------

  async function news() {
    if (document.hidden || isStatic || data.blind) return;
    let told;
    try { const response = await fetch(`news?after=${data.last}&since=${encodeURIComponent(data.arrived)}`); if (!response.ok) return; told = await response.json(); } catch { return; }
    data.last = told.last;
    for (const each of told.said) {
      const card = byId.get(each.id);
      if (!card || each.seen <= card.seen || each.key !== card.key) continue;
      const own = standing(card);
      card.seen = each.seen;
      if (own.id === null) continue; // what is on its way is newer
      Object.assign(card, { standing: { id: each.seen }, verdict: each.verdict, reason: each.reason, note: each.note, by: each.by, at: each.at });
      paint(card); tellCounts();
    }
    data.arrived = told.arrived;
    arrive(told.cards);
  }

  // What a run has brought meanwhile: new ones come at the end, so that nothing moves under the reviewer's hands; a
  // picture that is another one by now is shown where it stood.
  let came = 0;
  function arrive(told) {
    let some = 0;
    for (const each of told) {
      const known = byId.get(each.id);
      if (known) {
        if (known.key !== each.key || known.files !== each.files) { forget(known, known.key); refresh(known, each); }
        continue;
      }
      const card = { ...each, prompt: data.prompts.push(each.prompt) - 1 };
      cards.push(card); byId.set(card.id, card); some += 1;
      if (!hasWords(card) || !facets.every((facet) => fits(card, facet))) continue;
      view.push(card);
      if (view.length === 1) { draw(); continue; }
      if (Math.floor((view.length - 1) / PAGE) !== page) continue;
      const element = tile(card);
      shown.set(card.id, element);
      $("#grid").append(element);
    }
    if (!some) return;
    came += some;
    tellFound(); tellCounts();
    say(`${number(some)} new ${some === 1 ? "picture" : "pictures"} at the end`);
  }

  // ---- keys and clicks ------------------------------------------------------------------------------------------

  function inText(target) { return target.matches("textarea, input:not([type=checkbox]):not([type=range])"); }
  let pointer = null;

  function press(event) {
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if ((event.ctrlKey || event.metaKey) && key === "z" && !inText(event.target)) { event.preventDefault(); undo(); return; }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if ($("#ask").open) { if (key === "Enter" && event.target.matches("#ask-yes")) return; return; }
    if ($("#keys").open) return;
    if (inText(event.target)) { if (key === "Escape") { event.target.blur(); $("#grid").focus({ preventScroll: true }); } return; }
    if (event.target.matches("button, summary, input") && (key === " " || key === "Enter")) return;
    if (event.target.matches("input[type=range]") && /^(Arrow|Home|End|Page)/.test(key)) return;
    const act = (data.blind ? blindKeys : keysOf)(key, event);
    if (act) { event.preventDefault(); if (!event.repeat || HELD.test(key)) act(); }
  }

  function blindKeys(key) {
    const table = { j: () => stepPair(1), ArrowRight: () => stepPair(1), k: () => stepPair(-1), ArrowLeft: () => stepPair(-1), t: () => choose(0), u: undo, "?": tellKeys };
    return /^[0-9]$/.test(key) ? () => choose(Number(key)) : table[key];
  }

  function keysOf(key, event) {
    if (!$("#compared").hidden) return key === "Escape" || key === "c" ? () => $("#compared button").click() : null;
    if (key === "a" && event.shiftKey) return approveAll;
    if (/^[1-9]$/.test(key)) { const reason = data.reasons[Number(key) - 1]; return reason ? () => verdict("rejected", reason[0]) : null; }
    const row = inLoupe ? 1 : columns();
    const table = {
      a: () => verdict("approved"), p: () => verdict("approved"), x: () => verdict("rejected"), r: () => verdict("rejected"), u: () => verdict("undecided"),
      n: askNote, e: askWish, j: () => select(at + 1), ArrowRight: () => select(at + 1), k: () => select(at - 1), ArrowLeft: () => select(at - 1),
      ArrowDown: () => select(at + row), ArrowUp: () => select(at - row), Home: () => select(0), End: () => select(view.length - 1),
      Enter: () => (inLoupe ? close() : open()), " ": () => (inLoupe ? close() : open()), c: compare, f: rail, "/": search, "?": tellKeys,
    };
    if (inLoupe) Object.assign(table, { Escape: () => (zoom ? unzoom() : close()), s: cycle, d: toggleDifference, b: () => $("#stage").classList.add("peek"), z: () => toggleZoom(pointer), "[": () => turn(-1), "]": () => turn(1) });
    else if (key === "Escape" && $("#rail").classList.contains("open")) return rail;
    else Object.assign(table, { s: () => { open(); cycle(); }, d: () => { open(); if (mode !== DIFFERENCE) toggleDifference(); }, b: () => {}, z: () => { open(); toggleZoom(null); } });
    return table[key];
  }

  function rail() {
    const narrow = matchMedia("(max-width: 760px)").matches;
    const isOpen = narrow ? $("#rail").classList.toggle("open") : !document.body.classList.toggle("no-rail");
    $("#open-rail").setAttribute("aria-expanded", String(isOpen));
    const first = $("#facets input") || $("#search");
    if (isOpen) first.focus(); else $("#grid").focus({ preventScroll: true });
  }
  function search() { if (inLoupe) close(); if (getComputedStyle($("#rail")).display === "none") rail(); $("#search").focus(); $("#search").select(); }
  function tellKeys() { $("#keys").showModal(); }

  function wire() {
    document.addEventListener("keydown", press);
    document.addEventListener("keyup", (event) => { if (event.key.toLowerCase() === "b") $("#stage").classList.remove("peek"); });
    addEventListener("blur", () => $("#stage").classList.remove("peek"));
    addEventListener("resize", place);
    document.addEventListener("visibilitychange", news);
    addEventListener("focus", news);
    const click = (query, act) => $(query).addEventListener("click", act);
    click("#undo", undo); click("#open-rail", rail); click("#open-keys", tellKeys); click("#back", close);
    click("#approve", () => verdict("approved")); click("#reject", () => verdict("rejected")); click("#open", () => verdict("undecided"));
    click("#note", askNote); click("#wish", askWish); click("#compare", compare); click("#mode", cycle); click("#zoom", () => toggleZoom(null)); click("#differ", toggleDifference);
    click("#ask-yes", () => { $("#ask").close(); answer(); }); click("#ask-no", () => $("#ask").close());
    click("#again", () => filter());
    click("#clear", () => { for (const wanted of chosen.values()) wanted.clear(); words = ""; $("#search").value = ""; filter(); });
    click("#save-json", () => download(`review-${data.report.slice(0, 8)}.json`, "application/json", JSON.stringify(saved(), null, 1)));
    click("#save-csv", () => download(`review-${data.report.slice(0, 8)}.csv`, "text/csv", asCsv()));
    $("#ask").addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); $("#ask-yes").click(); } });
    $("#who").addEventListener("input", () => { data.who = $("#who").value.trim(); store(); });
    let typing = 0;
    $("#search").addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => { words = $("#search").value.trim().toLocaleLowerCase(); filter(); }, 120); });
    $("#history").addEventListener("toggle", tellHistory);
    $("#slider").addEventListener("input", () => slide(Number($("#slider").value)));
    $("#pager").addEventListener("click", (event) => { if (event.target.dataset.step) { page += Number(event.target.dataset.step); at = page * PAGE; draw(); } });
    for (const button of $("#panel").querySelectorAll("[data-move]")) button.addEventListener("click", () => select(at + Number(button.dataset.move)));
    for (const button of $("#files").querySelectorAll("button")) button.addEventListener("click", () => turn(Number(button.dataset.file)));
    $("#reasons").replaceChildren(...data.reasons.map(([word, meaning], index) => {
      const button = make("button", { type: "button", "data-reason": word, "aria-pressed": "false" }, make("kbd", {}, String(index + 1)), meaning);
      button.addEventListener("click", () => verdict("rejected", word));
      return make("li", {}, button);
    }));
    $("#checklist").hidden = !data.checklist.length;
    $("#checklist ul").replaceChildren(...data.checklist.map((line) => make("li", {}, line)));
    $("#keys tbody").replaceChildren(...(data.blind ? BLIND_KEYS : KEYS).map(([key, means]) => make("tr", {}, make("td", {}, make("kbd", {}, key)), make("td", {}, means))));
    wireStage();
  }

  function wireStage() {
    const stage = $("#stage");
    for (const image of stage.querySelectorAll("img")) for (const name of ["load", "error"]) image.addEventListener(name, () => image.classList.remove("coming"));
    let drag = null;
    const along = (event) => { const box = $("#after").getBoundingClientRect(); slide(100 * (event.clientX - box.left) / box.width); };
    stage.addEventListener("pointermove", (event) => {
      pointer = event;
      if (!drag) return;
      if (zoom) { zoom.x = Math.min(1, Math.max(0, zoom.x - (event.clientX - drag.x) / zoom.wide)); zoom.y = Math.min(1, Math.max(0, zoom.y - (event.clientY - drag.y) / zoom.high)); drag = { x: event.clientX, y: event.clientY }; place(); }
      else if (mode === "slider") along(event);
    });
    stage.addEventListener("pointerdown", (event) => {
      if (event.target.id === "slider") return;
      drag = { x: event.clientX, y: event.clientY };
      stage.setPointerCapture(event.pointerId);
      if (zoom) return;
      if (mode === "slider") along(event); else if (mode === "single") stage.classList.add("peek");
    });
    for (const name of ["pointerup", "pointercancel"]) stage.addEventListener(name, () => { drag = null; stage.classList.remove("peek"); });
    stage.addEventListener("pointerleave", () => { pointer = null; });
    stage.addEventListener("dblclick", toggleZoom);
  }

  async function begin() {
    if (isStatic) data = JSON.parse(block.textContent);
    else {
      data = await ask("cards");
      if (!data) return;
    }
    cards = data.cards || [];
    data.prompts = data.prompts || [];
    readOnly = Boolean(data.read_only);
    if (isStatic) restore();
    for (const card of cards) byId.set(card.id, card);
    for (const pair of data.pairs || []) pairs.set(pair.id, pair);
    document.title = `${data.name}: review`;
    $("#title").textContent = data.name;
    $("#rehearsal").hidden = !data.rehearsal;
    for (const name of ["#name", "#save-json", "#save-csv"]) $(name).hidden = !isStatic || (data.blind && name === "#save-csv");
    $("#who").value = data.who;
    wire();
    if (data.blind) {
      for (const name of ["#rail", "#bar", "#grid", "#open-rail"]) $(name).hidden = true;
      $("#blind").hidden = false;
      pairAt = Math.max(0, data.pairs.findIndex((pair) => pair.outcome === null));
      if (data.pairs.every((pair) => pair.outcome !== null)) pairAt = data.pairs.length;
      showPair();
    } else {
      makeFacets();
      filter(false);
      $("#grid").focus({ preventScroll: true });
      if (!isStatic) setInterval(news, POLL_SECONDS * 1000);
    }
    count();
    tellSaving();
    if (still) document.documentElement.dataset.still = "";
    document.documentElement.dataset.ready = "";
  }
  begin();
})();
