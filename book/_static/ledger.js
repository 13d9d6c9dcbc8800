/* The ledger as an instrument: a form narrows and sorts the claims. Without a script the page is a plain list that unfolds. */
document.addEventListener("DOMContentLoaded", function () {
  function openTo(id) {
    const target = id && document.getElementById(id);
    if (!target) return;
    const own = target.matches("section.claim") ? target.querySelector("details") : null;
    if (own) own.open = true;
    for (let up = target; up; up = up.parentElement) {
      if (up.tagName === "DETAILS") up.open = true;
      if (up.matches("section.claim, section.ledger-chapter")) up.hidden = false;
    }
    target.scrollIntoView();
  }
  function follow() {
    openTo(decodeURIComponent(location.hash.slice(1)));
  }
  const phone = matchMedia("(max-width: 600px)");
  function folded() {
    if (phone.matches) for (const paper of document.querySelectorAll("details.ledger-states")) paper.open = false;
  }
  folded();
  phone.addEventListener("change", folded);
  window.addEventListener("hashchange", follow);
  window.addEventListener("load", follow);

  const form = document.querySelector(".ledger-filter");
  if (!form) return;
  const sorted = document.querySelector(".ledger-sorted");
  const chapters = [...document.querySelectorAll("section.ledger-chapter")];
  const claims = [...document.querySelectorAll("section.claim")].map(function (card) {
    const fold = card.querySelector("details");
    return { card, fold, data: fold.dataset, home: card.parentElement, text: card.textContent.toLowerCase() };
  });
  const filters = ["chapter", "origin", "state", "kind"];
  const fields = [...filters, "sort", "words"];
  const orders = { tightness: ["tightness", -1], slack: ["tightness", 1], margin: ["margin", 1], room: ["margin", -1] };

  // A claim without a number, such as a proof, stands behind those that have one.
  function compare(key, sign) {
    return function (one, other) {
      const [a, b] = [one, other].map((each) => (each.data[key] === "" ? NaN : Number(each.data[key].replace("inf", "Infinity"))));
      if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b) || one.data.order - other.data.order;
      return (a < b ? -sign : a > b ? sign : 0) || one.data.order - other.data.order;
    };
  }
  function arrange() {
    const order = orders[form.elements.sort.value];
    if (order) {
      sorted.append(...[...claims].sort(compare(...order)).map((one) => one.card));
    } else {
      for (const one of claims) one.home.append(one.card);
    }
    sorted.hidden = !order;
  }
  function narrow() {
    const words = form.elements.words.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const { card, data, text } of claims) {
      const fits = filters.every((name) => !form.elements[name].value || form.elements[name].value === data[name]);
      card.hidden = !(fits && words.every((word) => text.includes(word)));
      shown += !card.hidden;
    }
    for (const chapter of chapters) chapter.hidden = !chapter.querySelector("section.claim:not([hidden])");
    form.elements.told.value = `${shown} of ${claims.length} claims`;
  }
  function remember() {
    const asked = new URLSearchParams(fields.map((name) => [name, form.elements[name].value]).filter((pair) => pair[1] && pair[1] !== "order"));
    const query = asked.toString();
    try {
      history.replaceState(null, "", (query ? "?" + query : location.pathname) + location.hash);
    } catch {
      /* a browser may forbid it for files on a disk */
    }
  }
  function update() {
    arrange();
    narrow();
    remember();
  }
  const asked = new URLSearchParams(location.search);
  for (const name of fields) if (asked.has(name)) form.elements[name].value = asked.get(name);
  for (const name of fields) if (form.elements[name].selectedIndex === -1) form.elements[name].selectedIndex = 0;
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(update));
  form.elements.unfold.addEventListener("click", function () {
    const seen = claims.filter((one) => !one.card.hidden);
    const open = !seen.every((one) => one.fold.open);
    for (const one of seen) one.fold.open = open;
  });
  form.hidden = false;
  update();
});
