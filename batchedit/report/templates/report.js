"use strict";
(() => {
  const sheet = document.querySelector(".sheet");
  if (!sheet) return;
  const figures = [...sheet.children];
  const size = Number(sheet.dataset.page);
  const pages = Math.ceil(figures.length / size);
  if (pages < 2) return;
  const pager = document.querySelector(".pager");
  let page = 0;
  const show = () => {
    figures.forEach((figure, number) => { figure.hidden = Math.floor(number / size) !== page; });
    pager.querySelector("span").textContent = `${page * size + 1} to ${Math.min(figures.length, (page + 1) * size)} of ${figures.length}`;
    pager.querySelectorAll("button").forEach((button) => {
      const next = page + Number(button.dataset.step);
      button.disabled = next < 0 || next >= pages;
    });
  };
  pager.hidden = false;
  pager.addEventListener("click", (event) => {
    if (!event.target.dataset.step) return;
    page = Math.min(pages - 1, Math.max(0, page + Number(event.target.dataset.step)));
    show();
  });
  show();
})();
