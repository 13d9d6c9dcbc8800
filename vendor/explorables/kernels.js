/* Chapter 4: the loss of one query in the plane, for two kernels. Descent and drawing; what is predicted comes from
   formulas/kernels.js. */
(function () {
  "use strict";
  const REACH = 4, LEVEL = 0.35, STRIDE = 0.02, LONGEST = 12, FLAT = 1e-200, COUNTED = 1500;
  const NAMES = ["softmax", "gaussian"];

  const at = (of, kernel, what, { s, zeta }) => (x, y) => of[`${what}_${kernel}`](x, y, s, zeta);

  /* The path of steepest descent from a place, by its length: a half step for the direction, and where a whole step would
     climb, its stride halves. It ends where no stride descends. */
  function descend(of, kernel, state) {
    const loss = at(of, kernel, "loss", state), along_x = at(of, kernel, "along_x", state), along_y = at(of, kernel, "along_y", state);
    const down = ([x, y]) => {
      const slope = [-along_x(x, y), -along_y(x, y)], size = Math.hypot(...slope);
      return size > FLAT ? slope.map((value) => value / size) : [0, 0];
    };
    let now = [state.x, state.y], here = loss(...now), stride = STRIDE, length = 0;
    const path = { x: [now[0]], y: [now[1]], length: [0], loss: [here] };
    while (stride > 1e-7 && length < LONGEST) {
      const first = down(now);
      const way = down(now.map((value, axis) => value + (stride / 2) * first[axis]));
      const next = now.map((value, axis) => value + stride * way[axis]), there = loss(...next);
      if (!(there < here)) {
        stride /= 2;
        continue;
      }
      length += stride;
      now = next;
      here = there;
      path.x.push(now[0]);
      path.y.push(now[1]);
      path.length.push(length);
      path.loss.push(here);
    }
    return path;
  }

  /* Wells of the loss on the line of the keys, the ends of the line among them where the loss still falls towards them. */
  function wells(of, kernel, state) {
    const slope = at(of, kernel, "along_x", state), found = [];
    const far = kernel === "softmax" ? 4 / (state.zeta * state.s) : state.s + 4 / Math.sqrt(state.zeta);  // beyond all turns
    let before = slope(-far, 0);
    if (before > 0 && kernel === "softmax") found.push(-Infinity);
    for (let x = -far; x <= far; x += far / COUNTED) {
      const now = slope(x, 0);
      if (before < 0 && now >= 0) found.push(x);
      before = now || before;
    }
    if (before < 0 && kernel === "softmax") found.push(Infinity);
    return found;
  }

  const grid = (low, high, count) => Array.from({ length: count + 1 }, (_, place) => low + ((high - low) * place) / count);

  function setup(stage) {
    stage.draws = {};
    for (const kernel of NAMES) {
      const title = kernel === "softmax" ? "Loss over the query, softmax" : "Loss over the query, Gaussian";
      const board = stage.board(kernel, {
        title, box: [-REACH, REACH, REACH, -REACH], across: "q\u2081", up: "q\u2082", square: true,
        legend: [["run", "path of descent"], ...(kernel === "softmax" ? [["theory", "edge of the trap"]] : [])],
      });
      const own = (stage.draws[kernel] = {
        shades: stage.shades(board, "shade"),
        edge: stage.curve(board, "theory", { dash: 2, strokeWidth: 1.6 }),
        ahead: stage.curve(board, "run", { strokeWidth: 4, strokeOpacity: 0.35 }),
        behind: stage.curve(board, "run", { strokeWidth: 3 }),
        keys: [0, 1, 2].map(() => stage.dot(board, "theory", { size: 3 })),
      });
      stage.handle(board, "start", { keys: ["x", "y"], label: `query under ${title.split(", ")[1]}`, step: 0.05 });
      own.now = stage.dot(board, "target", { size: 4 });
    }
    const line = stage.board("line", {
      title: "Loss on the line of the keys", box: [-REACH, LEVEL, REACH, -0.04], across: "q\u2081", up: "",
      legend: [["run", "softmax"], ["ghost", "Gaussian"], ["target", "well"]],
    });
    stage.draws.line = {
      softmax: stage.curve(line, "run", { strokeWidth: 2.5 }), gaussian: stage.curve(line, "ghost", { strokeWidth: 2.5 }),
      dots: [0, 1, 2, 3, 4, 5].map(() => stage.dot(line, "target", { face: "^", size: 5 })),
    };
    const map = stage.board("map", {
      title: "Where the Gaussian has a third well", box: [-0.25, 3.25, 2.6, -0.4], across: "s", up: "\u03b6",
      legend: [["theory", "predicted threshold"], ["start", "here"]],
    });
    const edge = stage.formulas.threshold(), spreads = grid(edge / Math.sqrt(3.2), 2.6, 80);
    stage.curve(map, "theory", { dash: 2, strokeWidth: 1.6 })(spreads, spreads.map((s) => (edge / s) ** 2));
    stage.handle(map, "start", { keys: ["s", "zeta"], label: "spread of the keys and sharpness", step: 0.02 });
  }

  function solve(stage) {
    const of = stage.formulas, { state, draws } = stage, across = grid(-REACH, REACH, 240);
    stage.found = {};
    for (const kernel of NAMES) {
      const loss = at(of, kernel, "loss", state), path = descend(of, kernel, state);
      draws[kernel].shades((x, y) => 1 - Math.sqrt(loss(x, y) / LEVEL));
      draws[kernel].ahead(path.x, path.y);
      draws.line[kernel](across, across.map((x) => loss(x, 0)));
      draws[kernel].keys.forEach((move, place) => move((place - 1) * state.s, 0));
      stage.found[kernel] = { path, wells: wells(of, kernel, state) };
    }
    const border = of.border(state.s, state.zeta);
    draws.softmax.edge([border, border], [-REACH, REACH]);
    const marks = NAMES.flatMap((kernel) => stage.found[kernel].wells.filter(Number.isFinite).map((x) => [x, at(of, kernel, "loss", state)(x, 0)]));
    draws.line.dots.forEach((move, place) => move(...(marks[place] || [99, 99])));
  }

  function draw(stage) {
    const of = stage.formulas, { state, draws, found } = stage;
    for (const kernel of NAMES) {
      const { path } = found[kernel], upTo = state.t * path.length[path.length.length - 1];
      const place = Math.max(path.length.findLastIndex((value) => value <= upTo + 1e-9), 0);
      draws[kernel].behind(path.x.slice(0, place + 1), path.y.slice(0, place + 1));
      draws[kernel].now(path.x[place], path.y[place]);
    }
    const [soft, gauss] = NAMES.map((kernel) => found[kernel]), last = (path) => path.loss[path.loss.length - 1];
    const measure = state.s * Math.sqrt(state.zeta);
    stage.show("loss", [soft.path.loss[0], gauss.path.loss[0]]);
    stage.show("end", [last(soft.path), last(gauss.path)]);
    stage.show("wells", [soft.wells.length, gauss.wells.length], 0);
    stage.show("predicted", [2, measure > of.threshold() ? 3 : 2], 0);
    stage.show("border", [of.border(state.s, state.zeta), NaN]);
    stage.show("measure", [NaN, measure]);
    stage.show("threshold", [NaN, of.threshold()]);
  }

  attnflow.explorable("kernels", {
    end: 1, duration: 4, clock: "share of the path", unit: "",
    start: { x: -1.8, y: 1.2 }, ranges: { x: [-REACH, REACH], y: [-REACH, REACH] },
    controls: [
      { key: "s", label: "spread s of the keys", unit: "units of length", min: 0.3, max: 2.5, step: 0.01, value: 1, digits: 2 },
      { key: "zeta", label: "sharpness \u03b6, and \u03b2 = 2\u03b6", unit: "per unit of length squared", min: 0.1, max: 3, step: 0.01, value: 1, digits: 2 },
    ],
    presets: [
      { label: "A trap in both", state: {},
        text: "Try: drag the query in either plane. Expect: from the left, softmax is lost to the left without end, and the Gaussian in a well near the left key." },
      { label: "Wide Gaussian", state: { zeta: 0.5 },
        text: "Try: \u03b6 = 0.5, below the threshold. Expect: the Gaussian has one valley, and finds the target from everywhere; softmax keeps its trap." },
      { label: "At the threshold", state: { s: 1, zeta: 0.9 },
        text: "Try: move \u03b6 down and up with the arrow keys. Expect: the third well is born where s\u221a\u03b6 passes the number in the last row." },
      { label: "Keys far apart", state: { s: 2, zeta: 1, x: -2.5, y: 0.8 },
        text: "Try: keys at \u22122, 0, 2. Expect: the Gaussian's wells are bumps apart, with a plateau of loss 0.32 around them; softmax has the same trap as ever, nearer to the middle." },
    ],
    table: {
      columns: ["softmax", "Gaussian"],
      rows: [["loss", "loss at the query"], ["end", "loss where descent ends"], ["wells", "wells counted on the line of the keys"],
        ["predicted", "wells predicted"], ["border", "descent is lost left of <i>q</i>\u2081 ="], ["measure", "<i>s</i>\u221a<i>\u03b6</i> now"],
        ["threshold", "<i>s</i>\u221a<i>\u03b6</i> from which there is a third well"]],
    },
    setup, solve, draw,
  });
})();
