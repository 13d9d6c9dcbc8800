/* Search that needs no network and no server: the index is a script, loaded when somebody is about to search. */
(function () {
  const root = document.documentElement.dataset.content_root || "./";
  const NAMES = { term: "Glossary", api: "Library", page: "Page", chapter: "Chapter", section: "Section", claim: "Claim" };
  // What a reader looks for first; names of the library come after everything else, whatever their score.
  const WEIGHTS = { theorem: 2, proposition: 2, lemma: 2, definition: 2, term: 2, claim: 1.4, figure: 1.3, exercise: 1.1 };
  const GREEK =
    "α alpha β beta γ gamma δ delta ε epsilon ζ zeta η eta θ theta κ kappa λ lambda μ mu ν nu ξ xi π pi ρ rho σ sigma τ tau φ phi χ chi ψ psi ω omega".split(" ");
  let search = null;
  let places = [];
  let loading = null;

  function bare(text) {
    const plain = text.normalize("NFD").replace(/[\u0300-\u036f]/g, "").toLowerCase();
    return plain.replace(/[α-ω]/g, function (letter, at) {
      const apart = (near) => (/[\p{L}\d]/u.test(near || "") ? " " : "");
      return apart(plain[at - 1]) + (GREEK[GREEK.indexOf(letter) + 1] || letter) + apart(plain[at + 1]);
    });
  }

  function tokens(text) {
    return bare(text).match(/\d+(?:\.\d+)+|[\p{L}\p{N}_]+/gu) || [];
  }

  /* One stem for balance, balanced and balancing. */
  function stem(word) {
    const short = word.replace(/(?:ies|ing|ed|es|s|e|y)$/, "");
    return /^[a-z]+$/.test(word) && short.length > 3 ? short : word;
  }

  function forms(word) {
    const parts = word.includes("_") ? word.split("_").filter(Boolean) : [];
    return [...new Set([word, stem(word), ...parts, ...parts.map(stem)])];
  }

  function data(made) {
    places = made.entries.map(function ([page, what, place, label, title, section, text, more], id) {
      const [address, number, name] = made.pages[page];
      const kind = made.kinds[what];
      const anchor = place || `claim-${label.replaceAll(".", "-")}`;
      const where = [kind === "chapter" || kind === "page" ? "" : `${number} ${name}`.trim(), section];
      return { id, kind, label, title, text, more, url: `${address}#${anchor}`, where: where.filter(Boolean).join(" › ") };
    });
    for (const [page, names] of made.api) {
      const [address, , where] = made.pages[page];
      for (const title of names.split(" ")) {
        const id = places.length;
        places.push({ id, kind: "api", label: "", title, text: "", more: "", url: `${address}#attnflow.${title}`, where });
      }
    }
    search = new window.MiniSearch({
      fields: ["label", "title", "text", "more", "where"],
      tokenize: tokens,
      processTerm: forms,
    });
    search.addAll(places);
  }

  function script(name) {
    return new Promise(function (resolve, reject) {
      const tag = document.createElement("script");
      tag.src = root + name;
      tag.onload = resolve;
      tag.onerror = () => reject(new Error(`${name} could not be loaded`));
      document.head.append(tag);
    });
  }

  function load() {
    loading = loading || script("minisearch/minisearch.js").then(() => script("_static/search-data.js"));
    return loading;
  }

  function ask(words, combineWith) {
    const one = (word) => ({
      combineWith: "OR",
      queries: [word, stem(word)].map((form) => ({
        queries: [form],
        processTerm: (term) => term,
        prefix: word.length > 1 || /\d/.test(word),
        fuzzy: word.length > 5 && form === word ? 1 : false,
      })),
    });
    return search.search(
      { combineWith, queries: words.map(one) },
      {
        boost: { label: 3, title: 5, text: 1, more: 0.7, where: 0.3 },
        weights: { fuzzy: 0.2, prefix: 0.5 },
        boostDocument: (id) => WEIGHTS[places[id].kind] || 1,
      }
    );
  }

  /* The places for a query, best first: all its words, or, where no place has all, any of them. */
  function find(query) {
    const words = tokens(query);
    if (!words.length) return [];
    const asked = words.join(" ");
    const all = ask(words, "AND");
    const found = all.length ? all : ask(words, "OR");
    const rank = function (hit) {
      const place = places[hit.id];
      const named = [place.label, place.title].map((name) => tokens(name).join(" ")).includes(asked);
      if (named && WEIGHTS[place.kind] === 2 && place.kind !== "term") return [-1, 0, -hit.score];
      return [named && (place.kind !== "api" || query.includes(".")) ? 0 : 1, place.kind === "api" ? 1 : 0, -hit.score];
    };
    const ranked = found.map((hit) => ({ ...places[hit.id], terms: Object.keys(hit.match), rank: rank(hit) }));
    return ranked.sort((one, other) => one.rank[0] - other.rank[0] || one.rank[1] - other.rank[1] || one.rank[2] - other.rank[2]);
  }

  /* Add a text to an element with the found words marked. */
  function marked(element, text, terms) {
    const known = new Set(terms);
    for (const piece of text.split(/([\p{L}\p{N}_]+)/u)) {
      const hit = piece && tokens(piece).some((word) => forms(word).some((form) => known.has(form)));
      const node = hit ? document.createElement("mark") : document.createTextNode(piece);
      if (hit) node.textContent = piece;
      element.append(node);
    }
    return element;
  }

  /* About 160 characters around the first found word. */
  function excerpt(text, terms) {
    if (text.length <= 170) return text;
    const known = new Set(terms);
    let at = 0;
    for (const word of text.matchAll(/[\p{L}\p{N}_]+/gu)) {
      if (tokens(word[0]).some((one) => forms(one).some((form) => known.has(form)))) {
        at = word.index;
        break;
      }
    }
    const start = at < 110 ? 0 : text.indexOf(" ", at - 70) + 1;
    const end = start + 160 >= text.length ? text.length : text.lastIndexOf(" ", start + 160);
    const cut = text.slice(start, end);
    return (start ? "… " : "") + cut + (end < text.length && !cut.endsWith("…") ? " …" : "");
  }

  function element(name, className, text) {
    const made = document.createElement(name);
    made.className = className;
    made.textContent = text || "";
    return made;
  }

  function item(place) {
    const line = element("li", "found-item");
    const link = element("a", "found-link");
    link.href = root + place.url;
    const kind = place.kind === "claim" || !place.label || place.kind === "section" ? NAMES[place.kind] : place.label;
    link.append(element("span", "found-kind", place.kind === "section" && place.label ? place.label : kind), " ");
    link.append(marked(element("span", "found-title"), place.title || "", place.terms));
    line.append(link);
    if (place.where && place.where !== NAMES[place.kind]) line.append(element("div", "found-where", place.where));
    if (place.text) line.append(marked(element("p", "found-text"), excerpt(place.text, place.terms), place.terms));
    return line;
  }

  function show(box, query, most) {
    const found = find(query);
    const status = element("p", "found-status");
    status.setAttribute("role", "status");
    const many = found.length > most ? `${found.length} places, the best ${most}` : `${found.length} place${found.length === 1 ? "" : "s"}`;
    status.textContent = query.trim() ? (found.length ? many : "Nothing is found: try fewer letters, or another word.") : "";
    const list = element("ol", "found-list");
    list.append(...found.slice(0, most).map(item));
    box.replaceChildren(status, list);
  }

  /* Up and down lead through the results, and back to the box. */
  function walk(event, input, box) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const links = [input, ...box.querySelectorAll("a")];
    const at = links.indexOf(document.activeElement);
    if (step && at >= 0 && links[at + step]) {
      event.preventDefault();
      links[at + step].focus();
    }
  }

  function attach(input, box, most) {
    let asked = 0;
    function answer() {
      const mine = ++asked;
      load().then(
        () => mine === asked && show(box, input.value, most),
        (failure) => box.replaceChildren(element("p", "found-status", failure.message))
      );
    }
    input.addEventListener("focus", () => load().catch(() => {}), { once: true });
    input.addEventListener("input", answer);
    for (const place of [input, box]) place.addEventListener("keydown", (event) => walk(event, input, box));
    box.addEventListener("keydown", (event) => event.key === "Escape" && input.focus());
    return answer;
  }

  window.attnflowSearch = { data, load, find };

  document.addEventListener("DOMContentLoaded", function () {
    const dialog = document.querySelector(".search-button__search-container");
    if (dialog) {
      const box = element("div", "found found-live");
      dialog.append(box);
      attach(dialog.querySelector("input"), box, 8);
    }
    const page = document.getElementById("search-results");
    if (page) {
      const input = document.querySelector(".bd-search-container input");
      page.classList.add("found");
      input.value = new URLSearchParams(location.search).get("q") || "";
      const answer = attach(input, page, 40);
      if (input.value) answer();
    }
  });
})();
