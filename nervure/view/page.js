"use strict";
// Every name is written as text: elements are made here, never parsed from strings.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const text = (n) => data.strings[n];
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes, ...children) {
    const drawn = ["svg", "g", "rect", "path", "text", "title", "defs", "marker"].includes(tag);
    const element = drawn ? document.createElementNS(SVG, tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
    }
    element.append(...children.filter((c) => c !== null && c !== undefined));
    return element;
  }
  const meets = (list, set) => list.some((v) => set.has(v));

  const state = { stage: 0, tab: "graph", ids: new Set(), origins: new Set(), zoom: null, graph: null };
  const last = data.stages.length - 1;
  state.stage = last;

  // of each stage: lines by number of the node
  const byId = data.stages.map((stage) => new Map((stage.lines || []).map((line) => [line[2], line])));

  // ---- header and passes
  $("title").textContent = text(data.name);
  $("facts").append(...data.facts.map(([k, v]) => make("div", {}, make("dt", {}, k), make("dd", {}, v))));
  const notes = [];
  if (data.refusal) notes.push(`No machine code: ${data.refusal}.`);
  if (data.left_out.length) notes.push(`Left out to keep the page small: ${data.left_out.join("; ")}.`);
  $("note").textContent = notes.join(" ");

  const passButtons = [];
  function passButton(stage, name, what) {
    const button = make("button", {}, make("span", { class: "pass" }, name), make("span", { class: "what" }, what));
    button.addEventListener("click", () => go(stage));
    passButtons.push(button);
    return make("li", {}, button);
  }
  function listPasses() {
    const list = $("passes");
    const count = data.passes.length ? data.passes[0].before : null;
    list.append(passButton(0, text(data.stages[0].title), count === null ? "" : `${count} nodes`));
    let same = [];
    const flush = () => {
      if (!same.length) return;
      const inner = make("ol", {}, ...same.map((p) => make("li", {}, text(p.name))));
      list.append(make("li", {}, make("details", {}, make("summary", {}, `${same.length} without effect`), inner)));
      same = [];
    };
    for (const pass of data.passes) {
      if (!pass.changed) { same.push(pass); continue; }
      flush();
      const rewrites = pass.rewrites.reduce((sum, [, n]) => sum + n, 0);
      const nodes = pass.before === pass.after ? `${pass.after} nodes` : `${pass.before} → ${pass.after} nodes`;
      const what = [nodes, rewrites ? `${rewrites} rewrite${rewrites > 1 ? "s" : ""}` : "", ms(pass.seconds)];
      list.append(passButton(pass.stage, text(pass.name), what.filter(Boolean).map((t) => t.replaceAll(" ", "\u00a0")).join(", ")));
    }
    flush();
  }
  const ms = (seconds) => `${(1e3 * seconds).toFixed(seconds < 0.01 ? 2 : 1)} ms`;

  function go(stage) {
    state.stage = Math.max(0, Math.min(last, stage));
    passButtons.forEach((b, k) => {
      if (k === state.stage) { b.setAttribute("aria-current", "true"); b.scrollIntoView({ block: "nearest" }); }
      else b.removeAttribute("aria-current");
    });
    $("from").value = String(Math.max(0, state.stage - 1));
    $("to").value = String(state.stage);
    stale.graph = stale.code = stale.diff = true;
    show(state.tab);
  }

  // ---- tabs: what is not seen is not built
  const stale = { graph: true, code: true, diff: true, memory: true, time: true };
  const build = { graph: showGraphs, code: showCode, diff: showDiff, memory: showMemory, time: showTime };
  const tabs = [...document.querySelectorAll("[role=tab]")];
  function show(name) {
    state.tab = name;
    for (const tab of tabs) {
      const chosen = tab.getAttribute("aria-controls") === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      $(tab.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (stale[name]) { stale[name] = false; build[name](); }
    mark(true);
  }
  tabs.forEach((tab, k) => {
    tab.addEventListener("click", () => show(tab.getAttribute("aria-controls")));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs[(k + step + tabs.length) % tabs.length];
      next.focus();
      show(next.getAttribute("aria-controls"));
    });
  });

  // ---- graphs
  let pictures = [];
  function showGraphs() {
    const now = data.stages[state.stage];
    const names = now.graphs.map((g) => text(g.name));
    if (!names.includes(state.graph)) state.graph = names[0] ?? null;
    $("which").replaceChildren(...names.map((n) => make("option", { value: n, selected: n === state.graph }, n)));
    const panes = [];
    pictures = [];
    if (state.stage > 0) panes.push(picture(state.stage - 1, "Before", "gone", state.stage));
    panes.push(picture(state.stage, state.stage ? "After" : "", "new", state.stage - 1));
    // sizes before they are seen, so that they are laid out once
    const room = $("pictures").clientWidth / panes.length;
    if (state.zoom === null) state.zoom = Math.max(0.6, Math.min(1, ...pictures.map((p) => room / p.graph.width)));
    resize();
    $("pictures").replaceChildren(...panes);
    for (const p of pictures) {
      const first = p.boxes.findIndex((b) => b.classList.contains("gone") || b.classList.contains("new"));
      if (p.boxes.length) centre(p, Math.max(0, first));
    }
  }
  function centre({ scroll, boxes }, k) {
    const view = scroll.getBoundingClientRect(), own = boxes[k].getBoundingClientRect();
    scroll.scrollLeft += own.left + own.width / 2 - view.left - view.width / 2;
    if (own.bottom > view.top + view.height / 2) scroll.scrollTop += own.top - view.top - 60;
  }

  function picture(stage, side, mark_, other) {
    const title = text(data.stages[stage].title);
    const heading = side ? `${side} ${stage && side === "After" ? title : side === "Before" ? text(data.stages[stage + 1].title) : ""}` : title;
    const scroll = make("div", { class: "scroll" });
    const pane = make("div", { class: "pane" }, make("h2", {}, heading), scroll);
    const found = data.stages[stage].graphs.find((g) => text(g.name) === state.graph);
    const graph = ($("unfold").checked && found?.unfolded) || found;
    if (!graph) {
      const why = data.stages[stage].graphs.length ? "This graph is not there." : "This graph is left out to keep the page small.";
      scroll.append(make("p", { class: "none" }, why));
      return pane;
    }
    const same = other >= 0 && data.stages[other].lines && data.stages[stage].lines ? byId[other] : null;
    const changed = (id) => {
      if (!same) return false;
      const here = byId[stage].get(id), there = same.get(id);
      return !there || (mark_ === "new" && here && there[3] !== here[3]);
    };
    const arrow = `arrow-${stage}-${mark_}`;
    const svg = make("svg", { class: "drawing", role: "group", "aria-label": text(graph.label), viewBox: `0 0 ${graph.width} ${graph.height}` },
      make("defs", {}, make("marker", { id: arrow, viewBox: "0 0 8 8", refX: 7, refY: 4, markerUnits: "userSpaceOnUse", markerWidth: 8, markerHeight: 8, orient: "auto" },
        make("path", { d: "M0 0.5L8 4L0 7.5z" }))));
    const edges = [];
    for (const [u, v, path] of graph.edges) {
      if (path) edges.push([u, v, make("path", { class: "edge", d: path, "marker-end": `url(#${arrow})` })]);
      else {
        const a = graph.boxes[u], b = graph.boxes[v];
        edges.push([u, v, make("path", { class: "edge stub", d: `M${a[4] + a[6] / 2 + 8} ${a[5] + a[7]}v16` })]);
        edges.push([u, v, make("path", { class: "edge stub", d: `M${b[4] + b[6] / 2 - 8} ${b[5] - 16}v16`, "marker-end": `url(#${arrow})` })]);
      }
    }
    svg.append(...edges.map((e) => e[2]));
    const boxes = graph.boxes.map(([kind, title_, lines, label, x, y, w, h, ids], k) => {
      const touched = ids.some(changed);
      const box = make("g", { class: `box ${kind}${touched ? " " + mark_ : ""}`, role: "button", tabindex: k ? -1 : 0, "aria-pressed": "false",
        "aria-label": text(label) + (touched ? (mark_ === "gone" ? ", only before" : ", new or changed") : "") });
      if (kind === "repeat") for (const d of [6, 3]) box.append(make("rect", { x: x + d, y: y + d, width: w, height: h, rx: 5 }));
      const round = kind === "input" || kind === "output" ? 14 : 5;
      box.append(make("rect", { x, y, width: w, height: h, rx: round }));
      box.append(make("text", { class: "title", x: x + w / 2, y: y + 18 }, text(title_)));
      lines.forEach((line, n) => box.append(make("text", { x: x + w / 2, y: y + 18 + 15 * (n + 1) }, text(line))));
      box.dataset.k = k;
      return box;
    });
    svg.append(...boxes);
    scroll.append(svg);
    const picture_ = { stage, graph, svg, scroll, boxes, edges };
    pictures.push(picture_);
    svg.addEventListener("click", (event) => {
      const box = event.target.closest("g.box");
      if (box) choose(picture_, Number(box.dataset.k));
    });
    svg.addEventListener("keydown", (event) => walk(event, picture_));
    return pane;
  }

  // arrows go along the edges and, sideways, to the next box of the row
  function walk(event, picture_) {
    const box = event.target.closest("g.box");
    if (!box) return;
    const k = Number(box.dataset.k), boxes = picture_.graph.boxes;
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(picture_, k); return; }
    let next;
    if (event.key === "ArrowDown") next = picture_.graph.edges.find(([u]) => u === k)?.[1];
    else if (event.key === "ArrowUp") next = picture_.graph.edges.find(([, v]) => v === k)?.[0];
    else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      const sign = event.key === "ArrowRight" ? 1 : -1;
      let best = Infinity;
      boxes.forEach((b, j) => {
        const far = sign * (b[4] - boxes[k][4]);
        if (b[5] === boxes[k][5] && far > 0 && far < best) { best = far; next = j; }
      });
    } else return;
    event.preventDefault();
    if (next !== undefined) focusBox(picture_, next);
  }
  function focusBox(picture_, k) {
    for (const b of picture_.boxes) b.setAttribute("tabindex", "-1");
    picture_.boxes[k].setAttribute("tabindex", "0");
    picture_.boxes[k].focus({ preventScroll: true });
    reveal(picture_, k);
  }
  function reveal({ scroll, boxes }, k) {
    const view = scroll.getBoundingClientRect(), own = boxes[k].getBoundingClientRect();
    if (own.top < view.top || own.bottom > view.bottom) scroll.scrollTop += own.top - view.top - view.height / 3;
    if (own.left < view.left || own.right > view.right) scroll.scrollLeft += own.left - view.left - view.width / 3;
  }
  function choose(picture_, k) {
    for (const b of picture_.boxes) b.setAttribute("tabindex", "-1");
    picture_.boxes[k].setAttribute("tabindex", "0");
    const ids = picture_.graph.boxes[k][8];
    select(ids, ids.flatMap((id) => byId[picture_.stage].get(id)?.[4] ?? []), picture_.stage);
  }
  function resize() {
    for (const { svg, graph } of pictures) {
      svg.setAttribute("width", (graph.width * state.zoom).toFixed(1));
      svg.setAttribute("height", (graph.height * state.zoom).toFixed(1));
    }
  }
  function zoom(value) { state.zoom = Math.max(0.02, Math.min(4, value)); resize(); }
  $("larger").addEventListener("click", () => zoom(state.zoom * 1.25));
  $("smaller").addEventListener("click", () => zoom(state.zoom / 1.25));
  $("plain").addEventListener("click", () => zoom(1));
  $("fit").addEventListener("click", () => {
    const needed = pictures.map((p) => Math.min(p.scroll.clientWidth / p.graph.width, p.scroll.clientHeight / p.graph.height));
    if (needed.length) zoom(Math.min(1, ...needed));
  });
  $("unfolding").hidden = !data.stages.some((s) => s.graphs.some((g) => g.unfolded));
  $("unfold").addEventListener("change", () => { showGraphs(); mark(true); });
  $("which").addEventListener("change", (event) => { state.graph = event.target.value; showGraphs(); mark(true); });

  // ---- selection: nodes by number, lines by origin; everything linked to them is marked
  function select(ids, origins, stage) {
    state.ids = new Set(ids);
    state.origins = new Set(origins);
    detail(stage ?? state.stage);
    mark(true);
  }
  const isOn = (id, origins) => (state.ids.size ? state.ids.has(id) : meets(origins, state.origins));

  function detail(stage) {
    const parts = [];
    for (const id of [...state.ids].slice(0, 200)) {
      const all = data.stages[stage].lines || [], at = all.indexOf(byId[stage].get(id));
      if (at < 0) continue;
      let end = at + 1;
      while (end < all.length && all[end][1] > all[at][1]) end++;
      for (const line of all.slice(at, end)) parts.push(make("div", {}, "  ".repeat(line[1] - all[at][1]) + text(line[0])));
    }
    if (state.ids.size > 200) parts.push(make("div", { class: "from" }, `and ${state.ids.size - 200} more nodes`));
    if (state.origins.size) {
      const buttons = [...state.origins].slice(0, 12).map((o) => {
        const button = make("button", {}, data.origins[o]);
        button.addEventListener("click", () => { show("code"); select([], [o]); });
        return button;
      });
      parts.push(make("div", { class: "from" }, "from ", ...buttons));
    }
    $("detail").replaceChildren(...parts);
  }

  function mark(move) {
    if (state.tab === "graph") {
      for (const p of pictures) {
        let first = -1;
        // what was fused or decomposed is not in the other picture: there its lines count
        const there = [...state.ids].some((id) => byId[p.stage].has(id));
        p.boxes.forEach((box, k) => {
          const ids = p.graph.boxes[k][8];
          const on = ids.some((id) => (there ? state.ids.has(id) : meets(byId[p.stage].get(id)?.[4] ?? [], state.origins)));
          box.classList.toggle("on", on);
          box.setAttribute("aria-pressed", String(on));
          if (on && first < 0) first = k;
        });
        for (const [u, v, path] of p.edges) path.classList.toggle("near", p.boxes[u].classList.contains("on") || p.boxes[v].classList.contains("on"));
        if (move && first >= 0) reveal(p, first);
      }
    }
    if (state.tab === "code") {
      for (const list of ["source", "ir"]) {
        let first = null;
        for (const row of $(list).querySelectorAll("[aria-selected]")) {
          const on = list === "source" ? state.origins.has(Number(row.dataset.origin)) : isOn(Number(row.dataset.id), row.dataset.origins ? row.dataset.origins.split(" ").map(Number) : []);
          row.classList.toggle("on", on);
          row.setAttribute("aria-selected", String(on));
          if (on) first ??= row;
        }
        if (move && first) toTop($(list), first);
      }
      let first = null;
      for (const block of $("blocks").children) {
        const on = !!block.dataset.origins && meets(block.dataset.origins.split(" ").map(Number), state.origins);
        block.classList.toggle("on", on);
        if (on) { block.open = true; first ??= block; }
      }
      if (move && first) toTop($("blocks"), first);
    }
  }
  function toTop(scroll, row) {
    const box = scroll.getBoundingClientRect(), own = row.getBoundingClientRect();
    if (own.top < box.top || own.bottom > box.bottom) scroll.scrollTop += own.top - box.top - box.height / 3;
  }

  // ---- code
  function lineList(container, label, groups) {
    const list = make("div", { class: "lines", role: "listbox", "aria-label": label, "aria-multiselectable": "true" }, ...groups);
    container.replaceChildren(list);
    const rows = [...list.querySelectorAll("[aria-selected]")];
    if (rows.length) rows[0].tabIndex = 0;
    else { container.tabIndex = 0; }
    const focus = (k) => {
      rows.forEach((r) => { r.tabIndex = -1; });
      rows[k].tabIndex = 0;
      rows[k].focus({ preventScroll: true });
      toTop(container, rows[k]);
    };
    list.addEventListener("click", (event) => {
      const row = event.target.closest("[aria-selected]");
      if (row) { focus(rows.indexOf(row)); pick(row); }
    });
    list.addEventListener("keydown", (event) => {
      const k = rows.indexOf(event.target);
      if (k < 0) return;
      const to = { ArrowDown: k + 1, ArrowUp: k - 1, Home: 0, End: rows.length - 1 }[event.key];
      if (to !== undefined) { event.preventDefault(); focus(Math.max(0, Math.min(rows.length - 1, to))); }
      else if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(rows[k]); }
    });
  }
  function pick(row) {
    if (row.dataset.origin !== undefined) select([], [Number(row.dataset.origin)]);
    else select([Number(row.dataset.id)], row.dataset.origins ? row.dataset.origins.split(" ").map(Number) : []);
  }
  function showSource() {
    const known = new Map(data.origins.map((o, k) => [o, k]));
    const groups = data.sources.map((source) => {
      const name = text(source.file);
      const rows = source.lines.map((line, k) => {
        const no = source.first + k, origin = known.get(`${name}:${no}`);
        const linked = origin !== undefined;
        const attributes = linked ? { class: "line linked", role: "option", tabindex: -1, "aria-selected": "false" } : { class: "line", role: "presentation" };
        const row = make("div", attributes, make("span", { class: "no" }, String(no)), make("span", {}, text(line)));
        if (linked) row.dataset.origin = origin;
        return row;
      });
      return make("div", { role: "group", "aria-label": name }, make("span", { class: "file", role: "presentation" }, name), ...rows);
    });
    if (groups.length) lineList($("source"), "Source", groups);
    else { $("source").tabIndex = 0; $("source").replaceChildren(make("p", { class: "none" }, "The Python source is not here: it was not found beside this program.")); }
  }
  let sourceShown = false;
  function showCode() {
    if (!sourceShown) { sourceShown = true; showSource(); showBlocks(); }
    const stage = data.stages[state.stage];
    $("ir-title").textContent = state.stage ? `Program after ${text(stage.title)}` : `Program ${text(stage.title)}`;
    if (!stage.lines) {
      $("ir").tabIndex = 0;
      $("ir").replaceChildren(make("p", { class: "none" }, "This listing is left out to keep the page small."));
      return;
    }
    const rows = stage.lines.map(([line, depth, id, , origins]) => {
      const attributes = id > 0 ? { class: "line", role: "option", tabindex: -1, "aria-selected": "false" } : { class: "line", role: "presentation" };
      const row = make("div", attributes, make("span", { class: "no" }), make("span", {}, "  ".repeat(depth) + text(line)));
      row.firstChild.textContent = origins.length ? data.origins[origins[0]].replace(/^.*:/, "") : "";
      if (id > 0) { row.dataset.id = id; if (origins.length) row.dataset.origins = origins.join(" "); }
      return row;
    });
    lineList($("ir"), "Program", rows);
  }
  function showBlocks() {
    const chosen = data.code.find((c) => c.key === $("stage").value);
    if (!chosen) { $("blocks").replaceChildren(make("p", { class: "none" }, data.refusal || "No machine code here.")); return; }
    $("blocks").replaceChildren(...chosen.blocks.map(([name, origins, body]) => {
      const from = origins.map((o) => data.origins[o].replace(/^.*\//, "")).join(", ");
      const title = text(name) === "steps" ? "memory and steps" : text(name);
      const block = make("details", { class: "block" }, make("summary", {}, title, make("span", { class: "from" }, from ? `  ${from}` : "")));
      block.dataset.origins = origins.join(" ");
      block.addEventListener("toggle", () => {
        if (block.open && block.children.length < 2) block.append(make("pre", { tabindex: 0 }, body));
      });
      return block;
    }));
  }
  $("stage").append(...data.code.map((c) => make("option", { value: c.key }, c.title)));
  $("stage").disabled = !data.code.length;
  $("stage").addEventListener("change", () => { showBlocks(); mark(true); });
  $("open").addEventListener("click", () => {
    const open = [...$("blocks").children].some((b) => !b.open);
    for (const block of $("blocks").children) block.open = open;
    $("open").textContent = open ? "Close all" : "Open all";
  });

  // ---- differences
  function compare(from, to) {
    const a = data.stages[from].lines, b = data.stages[to].lines;
    if (!a || !b) return null;
    const behind = new Map();
    let anchor = null;
    for (const line of a) {
      if (byId[to].has(line[2])) anchor = line[2];
      else behind.set(anchor, [...(behind.get(anchor) || []), line]);
    }
    const found = [];
    const gone = (id) => { for (const line of behind.get(id) || []) found.push(["-", line]); };
    gone(null);
    for (const line of b) {
      const old = byId[from].get(line[2]);
      if (!old) found.push(["+", line]);
      else if (old[3] === line[3]) found.push([" ", line]);
      else found.push(["-", old], ["+", line]);
      gone(line[2]);
    }
    return found;
  }
  function showDiff() {
    const found = compare(Number($("from").value), Number($("to").value));
    if (!found) { $("listing").replaceChildren("One of the two listings is left out to keep the page small."); return; }
    const whole = $("whole").checked;
    const near = found.map(() => whole);
    found.forEach(([sign], k) => { if (sign !== " ") for (let j = Math.max(0, k - 3); j <= Math.min(found.length - 1, k + 3); j++) near[j] = true; });
    const rows = [];
    let skipped = 0;
    const flush = () => { if (skipped) rows.push(make("span", { class: "skip-lines" }, `  ⋯ ${skipped} line${skipped > 1 ? "s" : ""} the same`)); skipped = 0; };
    found.forEach(([sign, line], k) => {
      if (!near[k]) { skipped++; return; }
      flush();
      rows.push(make("span", { class: sign === "-" ? "gone" : sign === "+" ? "new" : "" }, `${sign} ${"  ".repeat(line[1])}${text(line[0])}`));
    });
    flush();
    $("listing").replaceChildren(...rows);
    const count = (sign) => found.filter(([s, line]) => s === sign && line[2] > 0).length;
    const [minus, plus] = [count("-"), count("+")];
    $("counts").textContent = minus || plus ? `${minus} node${minus === 1 ? "" : "s"} before, ${plus} after` : "no difference";
  }
  for (const id of ["from", "to"]) {
    $(id).append(...data.stages.map((s, k) => make("option", { value: k }, k ? `after ${text(s.title)}` : text(s.title))));
    $(id).addEventListener("change", showDiff);
  }
  $("whole").addEventListener("change", showDiff);

  // ---- memory and time
  function table(caption, head, rows, right) {
    const cell = (tag, value, k) => make(tag, { class: right.includes(k) ? "n" : null, scope: tag === "th" ? "col" : null }, value);
    return make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...head.map((h, k) => cell("th", h, k)))),
      make("tbody", {}, ...rows.map((row) => make("tr", { class: row.same ? "same" : null }, ...row.cells.map((c, k) => cell("td", c, k))))));
  }
  function bar(share, label) {
    return make("svg", { class: "chart", width: 160, height: 10, role: "img", "aria-label": label },
      make("rect", { class: "track", width: 160, height: 10, rx: 2 }), make("rect", { width: Math.max(1, 160 * share).toFixed(1), height: 10, rx: 2 }));
  }
  function showMemory() {
    const memory = data.memory;
    if (!memory) { $("plan").replaceChildren(make("p", { class: "none" }, data.refusal || "No memory plan here.")); return; }
    const parts = [make("div", { class: "plain" }, ...memory.totals.map((t) => make("p", {}, text(t))))];
    const scratch = memory.rows.filter((r) => r[0] === "scratch");
    if (scratch.length && scratch.length <= 400) {
      const steps = memory.steps.length, left = 64, unit = Math.max(4, Math.min(34, 720 / steps)), height = 17 * scratch.length + 24;
      const svg = make("svg", { class: "chart plain", width: left + unit * steps + 190, height, role: "img", "aria-label": `Lives of ${scratch.length} scratch buffers over ${steps} steps` });
      scratch.forEach(([, name, bytes, first, end], k) => {
        const y = 17 * k + 4;
        svg.append(make("text", { x: 0, y: y + 9 }, text(name)), make("rect", { class: "track", x: left, y, width: unit * steps, height: 10 }),
          make("rect", { x: left + unit * first, y, width: unit * (end - first + 1), height: 10, rx: 2 }),
          make("text", { class: "soft", x: left + unit * steps + 10, y: y + 9 }, `${text(bytes)} bytes`));
      });
      svg.append(make("text", { class: "soft", x: left, y: height - 4 }, `steps 0 to ${steps - 1}`));
      parts.push(svg);
    }
    const rows = memory.rows.map(([place, name, bytes, first, end]) => ({ cells: [place, text(name), text(bytes), first < 0 ? "" : `${text(memory.steps[first])} to ${text(memory.steps[end])}`] }));
    parts.push(table("Buffers", ["place", "name", "bytes", "from and to"], rows, [2]));
    $("plan").replaceChildren(...parts);
  }
  function showTime() {
    const total = data.passes.reduce((sum, p) => sum + p.seconds, 0), most = Math.max(...data.passes.map((p) => p.seconds), 1e-9);
    const rows = data.passes.map((p) => {
      const rewrites = p.rewrites.map(([n, c]) => `${c} ${text(n)}`).join(", ");
      const nodes = p.before === p.after ? String(p.after) : `${p.before} → ${p.after}`;
      const said = p.notes.length ? make("details", {}, make("summary", {}, `${p.notes.length} remark${p.notes.length > 1 ? "s" : ""}`), ...p.notes.map((n) => make("div", {}, text(n)))) : "";
      return { same: !p.changed, cells: [text(p.name), ms(p.seconds), bar(p.seconds / most, `${ms(p.seconds)} of ${ms(total)}`), nodes, rewrites, said] };
    });
    const parts = [table(`Passes, ${ms(total)} in all`, ["pass", "time", "share", "nodes", "rewrites", "remarks"], rows, [1, 3])];
    if (data.profile) {
      const p = data.profile, head = ["kernel", "calls", "µs", "of the run", "GFLOP/s", "GB/s", "of the roofline", "does", "saved", "lines"];
      const caption = `Run, ${(1e6 * p.seconds).toFixed(1)} µs, median of ${p.runs}; machine: ${(1e-9 * p.peak).toFixed(0)} GFLOP/s, ${(1e-9 * p.bandwidth).toFixed(0)} GB/s`;
      parts.unshift(table(caption, head, p.rows.map((r) => ({ cells: r.map(text) })), [1, 2, 3, 4, 5, 6]));
    }
    $("times").replaceChildren(...parts);
  }

  // ---- search
  let index = null;
  function indexed() {
    if (index) return index;
    index = [];
    const add = (kind, shown, act) => index.push({ kind, shown, low: shown.toLowerCase(), act });
    for (const p of data.passes) if (p.changed) add("pass", text(p.name), () => go(p.stage));
    data.stages.forEach((stage, k) => {
      if (k !== 0 && k !== last) return;
      for (const [line, , id, , origins] of stage.lines || [])
        if (id > 0) add(k ? "node" : "as traced", text(line), () => { go(k); select([id], origins, k); });
    });
    const known = new Map(data.origins.map((o, k) => [o, k]));
    for (const source of data.sources) source.lines.forEach((line, k) => {
      const where = `${text(source.file)}:${source.first + k}`;
      if (text(line).trim()) add("source", text(line), () => { show("code"); if (known.has(where)) select([], [known.get(where)]); toTop($("source"), [...$("source").querySelectorAll(".line")].find((r) => r.textContent.startsWith(String(source.first + k))) ?? $("source")); });
    });
    for (const code of data.code) code.blocks.forEach((block, n) => {
      const act = () => {
        show("code");
        $("stage").value = code.key;
        showBlocks();
        select([], block[1]);
        const element = $("blocks").children[n];
        element.open = true;
        toTop($("blocks"), element);
      };
      add(code.key, text(block[0]), act);
      for (const line of block[2].split("\n")) if (line.trim()) add(code.key, line, act);
    });
    return index;
  }
  const LIMIT = 100;
  function search() {
    const query = $("query").value.trim().toLowerCase(), box = $("results");
    if (!query) { box.hidden = true; return; }
    const hits = [];
    let count = 0;
    for (const entry of indexed()) {
      const at = entry.low.indexOf(query);
      if (at < 0) continue;
      count++;
      if (hits.length < LIMIT) hits.push([entry, at]);
    }
    const rows = hits.map(([entry, at]) => {
      const start = Math.max(0, at - 50), end = at + query.length;
      const shown = make("span", { class: "text" }, (start ? "…" : "") + entry.shown.slice(start, at).trimStart(), make("mark", {}, entry.shown.slice(at, end)), entry.shown.slice(end, end + 160));
      const button = make("button", { type: "button" }, make("span", { class: "kind" }, entry.kind), shown);
      button.addEventListener("click", () => { box.hidden = true; entry.act(); });
      return button;
    });
    const said = count > LIMIT ? `${LIMIT} of ${count} places` : count === 1 ? "1 place" : `${count} places`;
    box.replaceChildren(make("p", { role: "status" }, said), ...rows);
    box.hidden = false;
  }
  $("query").addEventListener("input", search);
  $("query").addEventListener("focus", search);
  document.querySelector(".search").addEventListener("keydown", (event) => {
    const buttons = [...$("results").querySelectorAll("button")];
    const k = buttons.indexOf(document.activeElement);
    if (event.key === "Escape") { $("results").hidden = true; $("query").focus(); $("results").hidden = true; }
    else if (event.key === "ArrowDown" && buttons.length) { event.preventDefault(); buttons[Math.min(k + 1, buttons.length - 1)].focus(); }
    else if (event.key === "ArrowUp" && k >= 0) { event.preventDefault(); (k ? buttons[k - 1] : $("query")).focus(); }
    else if (event.key === "Enter" && k < 0 && buttons.length) buttons[0].click();
  });
  document.addEventListener("click", (event) => { if (!event.target.closest(".search")) $("results").hidden = true; });
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, select, textarea");
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") { event.preventDefault(); $("query").focus(); }
    else if (event.key === "[") go(state.stage - 1);
    else if (event.key === "]") go(state.stage + 1);
  });

  listPasses();
  go(last);
})();
