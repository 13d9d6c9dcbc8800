/* Chapter 3: thirty draws of a net that widens, their attention, and one entry of their tangent kernel. The net and drawing;
   what is predicted comes from formulas/encoder.js. */
(function () {
  "use strict";
  const DRAWS = 30, SIZE = 4, START = 4, END = 6;  // a sample has SIZE orthonormal tokens; the width is 2^(START + t)
  const SIGNS = [[1, 1, 1, 1], [1, 1, -1, -1]];  // token j of a sample is that of the standard basis, with this sign
  const SQUARE = SIZE * SIZE, MASKS = 2 ** SIZE, NEURON = 3 * SIZE + 1;  // a neuron has weights of query, key and value, and one out
  const SEEDS = 99, LEFT = -0.9, RIGHT = END + 0.3, LEVELS = [0.15, 0.3, 0.6, 1.2, 2.5, 5, 10, 20];
  const range = (count) => Array.from({ length: count }, (_, place) => place);
  const widthAt = (t) => Math.round(2 ** (START + t)), TIMES = range(END + 1), WIDEST = widthAt(END);
  const WITH = range(SIZE).map((i) => range(MASKS).filter((set) => set & (1 << i)));  // sets of tokens that hold token i, a bit a token

  function mulberry32(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }

  /* Standard normal weights of all draws, neuron by neuron, by Box and Muller: a wider net keeps its neurons. */
  function drawn(of, seed) {
    const uniform = mulberry32(seed), weights = new Float64Array(DRAWS * WIDEST * NEURON);
    for (let place = 0; place < weights.length; place += 2) {
      const radius = of.radius(1 - uniform()), turn = 2 * Math.PI * uniform();
      weights[place] = radius * Math.cos(turn);
      weights[place + 1] = radius * Math.sin(turn);
    }
    return weights;
  }

  /* Adds neurons to the sums W_Q W_K^T, W_Q W_Q^T and W_K W_K^T of a draw, which lie behind one another. */
  function widen(sums, weights, draw, from, to) {
    for (let neuron = draw * WIDEST + from; neuron < draw * WIDEST + to; neuron++)
      for (let i = 0, at = 0, query = neuron * NEURON, key = query + SIZE; i < SIZE; i++)
        for (let j = 0; j < SIZE; j++, at++) {
          sums[at] += weights[query + i] * weights[key + j];
          sums[SQUARE + at] += weights[query + i] * weights[query + j];
          sums[2 * SQUARE + at] += weights[key + i] * weights[key + j];
        }
    return sums;
  }

  const dot = (one, at, other, from) =>
    one[at] * other[from] + one[at + 1] * other[from + 1] + one[at + 2] * other[from + 2] + one[at + 3] * other[from + 3];

  /* Attention of a sample, row = query. */
  function attention(of, sums, tau, signs) {
    const shares = new Float64Array(SQUARE);
    for (let i = 0; i < SIZE; i++) {
      const z = signs.map((sign, j) => tau * signs[i] * sign * sums[SIZE * i + j]);
      for (let j = 0; j < SIZE; j++) shares[SIZE * i + j] = of.share(z[j], z[(j + 1) % SIZE], z[(j + 2) % SIZE], z[(j + 3) % SIZE]);
    }
    return shares;
  }

  /* Sums over neurons of value and output weights: products of their outputs on both samples; squares of output weights by the
     two sets of tokens on which a neuron is active; and output times value weights by each such set. */
  function neurons(weights, draw, k, mixed) {
    const pairs = new Float64Array(MASKS * MASKS), back = SIGNS.map(() => new Float64Array(MASKS * SIZE));
    const mask = [0, 0], total = [0, 0], first = draw * WIDEST * NEURON + 2 * SIZE;
    let output = 0;
    for (let place = first; place < first + k * NEURON; place += NEURON) {
      const out = weights[place + SIZE];
      for (let sample = 0; sample < 2; sample++) {
        let active = 0, sum = 0;
        for (let i = 0; i < SIZE; i++) {
          const entering = dot(weights, place, mixed[sample], SIZE * i);
          active += entering > 0 ? 1 << i : 0;
          sum += Math.max(entering, 0);
        }
        mask[sample] = active;
        total[sample] = sum;
        for (let c = 0; c < SIZE; c++) back[sample][SIZE * active + c] += out * weights[place + c];
      }
      output += total[0] * total[1];
      pairs[MASKS * mask[0] + mask[1]] += out * out;
    }
    return { output, pairs, back };
  }

  /* Slope of the output by W_Q W_K^T, times L sqrt(k). */
  function force(shares, back, tau, signs) {
    const slope = new Float64Array(SQUARE);
    for (let i = 0; i < SIZE; i++) {
      const through = signs.map((sign, j) => sign * WITH[i].reduce((sum, set) => sum + back[SIZE * set + j], 0));
      const mean = dot(shares, SIZE * i, through, 0);
      signs.forEach((sign, j) => (slope[SIZE * i + j] = tau * signs[i] * sign * shares[SIZE * i + j] * (through[j] - mean)));
    }
    return slope;
  }

  /* Of one draw at a width: its attention to X, the deficit of both attentions, K(X, X'), and its closed form given these. */
  function net(of, weights, draw, sums, k, s) {
    const tau = of.tau_0(k, s), shares = SIGNS.map((signs) => attention(of, sums, tau, signs));
    const mixed = shares.map((each, sample) => each.map((share, place) => share * SIGNS[sample][place % SIZE]));
    const { output, pairs, back } = neurons(weights, draw, k, mixed);
    const [one, other] = shares.map((each, sample) => force(each, back[sample], tau, SIGNS[sample]));
    let deficit = 0, value = 0, turned = 0, given = 0;
    for (const each of shares)
      for (let at = 0; at < SQUARE; at += SIZE) deficit += of.deficit_of(each[at], each[at + 1], each[at + 2], each[at + 3]) / (2 * SIZE);
    for (let i = 0; i < SIZE; i++)
      for (let j = 0; j < SIZE; j++) {
        const at = SIZE * i, from = SIZE * j, product = dot(mixed[0], at, mixed[1], from);
        const size = Math.sqrt(dot(mixed[0], at, mixed[0], at) * dot(mixed[1], from, mixed[1], from));
        given += of.neurons(size, Math.min(1, Math.max(-1, product / size)));
        for (const set of WITH[i]) for (const also of WITH[j]) value += pairs[MASKS * set + also] * product;
        turned += sums[SQUARE + at + j] * dot(one, at, other, from);
        for (let row = 0; row < SQUARE; row += SIZE) turned += sums[2 * SQUARE + at + j] * one[row + i] * other[row + j];
      }
    return { shares: shares[0], deficit, entry: (output + value + turned) / (k * SQUARE), given: given / SQUARE };
  }

  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = (values, middle) => values.reduce((sum, value) => sum + (value - middle) ** 2, 0);
  const spread = (values) => Math.sqrt(squares(values, mean(values)) / (values.length - 1));

  /* Exponent of values in the width, over all widths that are drawn. */
  function exponent(of, values) {
    const middle = mean(TIMES), along = TIMES.reduce((sum, t, place) => sum + (t - middle) * of.decades(values[place]), 0);
    return along / (squares(TIMES, middle) * of.decades(2));
  }

  /* Read-outs of thirty draws at a width: what each has, and what all have. */
  function read(nets) {
    const [deficit, entry, given] = ["deficit", "entry", "given"].map((key) => nets.map((one) => one[key]));
    return { deficit, entry, given, shares: nets[0].shares, spread: spread(entry), apart: spread(given) };
  }

  /* A cell of the map, of a key and a query from 0. It is shaded by its opacity alone, which costs no measuring of the page. */
  function square(board, key, query) {
    const across = [key + 0.5, key + 1.5, key + 1.5, key + 0.5], up = [query + 0.5, query + 0.5, query + 1.5, query + 1.5];
    return board.create("curve", [across, up], { fillColor: "var(--explorable-shade)", strokeWidth: 0, highlight: false, fixed: true });
  }

  function setup(stage) {
    const map = stage.board("attention", {
      title: "Attention of the red draw", box: [-0.6, SIZE + 0.5, SIZE + 0.5, -0.6], across: "j", up: "i", square: true,
    });
    const fan = stage.board("entry", {
      title: "Kernel entry K", box: [LEFT, 0.3, RIGHT, -0.15], across: "t", up: "K",
      legend: [["run", "thirty draws"], ["target", "one of them"], ["theory", "K\u221e"]],
    });
    const deficits = stage.board("deficit", {
      title: "Entropy deficit D", box: [LEFT, 0.6, RIGHT, -6.2], across: "t", up: "log\u2081\u2080 D",
      legend: [["run", "draws and mean"], ["theory", "predicted"]],
    });
    const spreads = stage.board("spread", {
      title: "Spread of the draws", box: [LEFT, 0.5, RIGHT, -4.2], across: "t", up: "log\u2081\u2080",
      legend: [["run", "of K"], ["ghost", "given the attention"], ["theory", "predicted"]],
    });
    const dashed = { dash: 2, strokeWidth: 1.6 }, dots = { strokeWidth: 7, strokeOpacity: 0.55, lineCap: "round" };
    stage.curve(fan, "theory", dashed)([0, END], [stage.formulas.limit(), stage.formulas.limit()]);
    stage.draws = {
      cells: range(SQUARE).map((at) => square(map, at % SIZE, Math.floor(at / SIZE))),
      fan: { lines: stage.curve(fan, "run", { strokeWidth: 1, strokeOpacity: 0.3 }), line: stage.curve(fan, "target", { strokeWidth: 1.5 }),
        cloud: stage.curve(fan, "run", dots), one: stage.dot(fan, "target") },
      deficits: { mean: stage.curve(deficits, "run"), theory: stage.curve(deficits, "theory", dashed),
        cloud: stage.curve(deficits, "run", dots), one: stage.dot(deficits, "target") },
      spreads: { entry: stage.curve(spreads, "run"), given: stage.curve(spreads, "ghost"), theory: stage.curve(spreads, "theory", dashed),
        also: stage.curve(spreads, "theory", dashed), one: stage.dot(spreads, "run"), other: stage.dot(spreads, "ghost") },
    };
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: "New draw" });
    button.addEventListener("click", () => stage.set({ seed: (stage.state.seed % SEEDS) + 1 }));
    stage.place.querySelector(".explorable-presets").append(button);
  }

  const level = (most) => LEVELS.find((one) => one >= most) || LEVELS[LEVELS.length - 1];
  const decades = (of, values) => values.map((value) => of.decades(value));
  const predicted = (of, key, k, s) => (s < 0.5 ? NaN : of[key](k, s));  // below, the logits are not small at great width

  function solve(stage) {
    const of = stage.formulas, { s, seed } = stage.state, { fan, deficits, spreads } = stage.draws;
    if (stage.seed !== seed) {
      stage.weights = drawn(of, (stage.seed = seed));
      stage.sums = range(DRAWS).map((draw) => {
        const sums = new Float64Array(3 * SQUARE);
        return TIMES.map((t) => widen(sums, stage.weights, draw, t ? widthAt(t - 1) : 0, widthAt(t)).slice());
      });
    }
    const found = TIMES.map((t) => read(range(DRAWS).map((draw) => net(of, stage.weights, draw, stage.sums[draw][t], widthAt(t), s))));
    const all = found.flatMap(({ entry }) => entry);
    const box = [LEFT, level(Math.max(...all, 0.2)), RIGHT, -level(Math.max(...all.map((value) => -value)))];
    if (`${stage.box}` !== `${box}`) stage.view(stage.boards.entry, box);  // it measures the page
    stage.box = box;
    const line = (draw) => found.map(({ entry }) => entry[draw]);
    fan.lines(range(DRAWS).flatMap(() => [...TIMES, NaN]), range(DRAWS).flatMap((draw) => [...line(draw), NaN]));
    fan.line(TIMES, line(0));
    deficits.mean(TIMES, decades(of, found.map(({ deficit }) => mean(deficit))));
    deficits.theory(TIMES, decades(of, TIMES.map((t) => of.deficit(of.log_variance(s, START + t)))));
    for (const [key, law, measured] of [["spread", "theory", "entry"], ["apart", "also", "given"]]) {
      const values = found.map((one) => one[key]), known = TIMES.map((t) => predicted(of, key, widthAt(t), s));
      spreads[law](TIMES, decades(of, known));
      spreads[measured](TIMES, decades(of, values));
      stage.show(`${key}_power`, [exponent(of, values), exponent(of, known)]);
    }
    stage.width = null;
  }

  function draw(stage) {
    const of = stage.formulas, { t, s } = stage.state, { cells, fan, deficits, spreads } = stage.draws, k = widthAt(t);
    if (stage.width === k) return;
    const before = Math.floor(t), now = (stage.now = read(range(DRAWS).map((draw) => {
      const sums = widen(stage.sums[draw][before].slice(), stage.weights, draw, widthAt(before), k);
      return net(of, stage.weights, draw, sums, k, s);
    })));
    stage.width = k;
    cells.forEach((cell, at) => cell.rendNode.setAttribute("fill-opacity", now.shares[at].toFixed(3)));
    const places = range(DRAWS).flatMap(() => [t, t + 1e-3, NaN]), dots = (values) => values.flatMap((value) => [value, value, NaN]);
    fan.cloud(places, dots(now.entry));
    fan.one(t, now.entry[0]);
    deficits.cloud(places, dots(decades(of, now.deficit)));
    deficits.one(t, of.decades(now.deficit[0]));
    spreads.one(t, of.decades(now.spread));
    spreads.other(t, of.decades(now.apart));
    stage.show("k", [k, NaN], 0);
    stage.show("deficit", [mean(now.deficit), of.deficit(of.log_variance(s, START + t))], 5);
    stage.show("entry", [mean(now.entry), s > 0.5 ? of.limit() : NaN], 5);
    for (const key of ["spread", "apart"]) stage.show(key, [now[key], predicted(of, key, k, s)], 5);
  }

  attnflow.explorable("encoder", {
    end: END, duration: 6, clock: "width k = 2^(4 + t), t", unit: "doublings", start: {}, ranges: {},
    controls: [
      { key: "s", label: "scaling s, \u03c4\u2080 = k^(\u2212s)", unit: "powers of 1/k", min: 0.25, max: 1.25, step: 0.01, value: 0.5, digits: 2 },
      { key: "seed", label: "seed of the draws", unit: "", min: 1, max: SEEDS, step: 1, value: 1, digits: 0 },
    ],
    presets: [
      { label: "Random, s = 1/2", state: {},
        text: "Try: play, and watch the net widen. Expect: the draws settle, but each elsewhere; their spread levels off, and attention is as uneven as before." },
      { label: "Uniform, s = 1", state: { s: 1 },
        text: "Try: s = 1. Expect: attention fades to a quarter everywhere, the deficit falls as 1/k, and thirty draws of K become one number, K\u221e." },
      { label: "Between, s = 3/4", state: { s: 0.75 },
        text: "Try: s = 3/4. Expect: the spread given the attention falls as k^(\u22121/4) only, and that of K bends towards it: the attention has the last word." },
      { label: "Beyond, s = 5/4", state: { s: 1.25 },
        text: "Try: s = 5/4. Expect: attention is out of it, its part falls as k^(\u22123/4), and what is left of the spread is that of k neurons, k^(\u22121/2)." },
      { label: "Saturated, s = 1/4", state: { s: 0.25 },
        text: "Try: s = 1/4. Expect: each row of the attention goes to one token, the deficit rises towards 1, and a few draws of K run far ahead of the others." },
    ],
    table: {
      columns: ["thirty draws", "predicted"], rows: [
        ["k", "width <i>k</i>"], ["deficit", "mean entropy deficit <i>D</i>"], ["entry", "mean of <i>K</i>"],
        ["spread", "spread of <i>K</i>"], ["spread_power", "exponent of the spread in <i>k</i>"],
        ["apart", "spread given the attention"], ["apart_power", "exponent of it given the attention"]],
    },
    setup, solve, draw,
  });
})();
