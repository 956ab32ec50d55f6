// What has to work without the server's page code: STOP, who speaks, and pointing at the picture.
(() => {
  const cookie = (name) => decodeURIComponent((document.cookie.match(`(?:^|; )${name}=([^;]*)`) || [])[1] || "");
  const author = () => cookie("loopwright_author") || "clinician";
  const banner = (text, ok) => {
    const at = document.getElementById("lw-banner");
    if (!at) return;
    at.textContent = text;
    at.className = `lw-banner on${ok ? " ok" : ""}`;
  };

  // STOP goes by a request of its own, and is tried again until it is answered.
  let stopping = false;
  async function stop() {
    const session = document.querySelector("[data-session]")?.dataset.session;
    if (!session || stopping) return;
    stopping = true;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await fetch(`/api/sessions/${encodeURIComponent(session)}/stop`, {
          method: "POST",
          keepalive: true,
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ author: author() }),
        });
        const said = await answer.json().catch(() => ({}));
        if (answer.status < 500) {
          banner(answer.ok ? `STOP was delivered at ${new Date().toLocaleTimeString()}.` : `STOP: ${said.error}`, answer.ok);
          break;
        }
      } catch {}
      banner(`STOP is NOT delivered: no connection. Attempt ${attempt}; it is tried again.`, false);
      await new Promise((done) => setTimeout(done, 500));
    }
    stopping = false;
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") stop(); }, true);
  document.addEventListener("click", (event) => { if (event.target.closest(".lw-stop")) stop(); });

  // Pointing: a click, a drag, or the arrow keys and Enter; in pixels of the picture.
  const picture = (event) => event.target.closest?.("svg.lw-picture[data-points]");
  const place = (inverse, event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(inverse);
    return [at.x, at.y];
  };
  const hint = (svg, from, to) => {
    const path = svg.querySelector(".lw-hint");
    const r = svg.viewBox.baseVal.width / 40;
    const cross = ([u, v]) => `M${u - r} ${v}h${2 * r}M${u} ${v - r}v${2 * r}`;
    path.setAttribute("d", from ? cross(from) + (to ? `M${from}L${to}` : "") : "");
  };
  const send = (svg, at, to) =>
    emitEvent("lw_point", { branch: +svg.dataset.branch, step: +svg.dataset.step, at_px: at, to_px: to });
  let drag = null; // of the picture that was there when it began; a new one may take its place meanwhile
  document.addEventListener("pointerdown", (event) => {
    const svg = picture(event);
    if (!svg || event.button) return;
    const inverse = svg.getScreenCTM().inverse();
    drag = { svg, inverse, from: place(inverse, event) };
    svg.setPointerCapture(event.pointerId);
    hint(svg, drag.from);
  });
  document.addEventListener("pointermove", (event) => {
    if (drag) hint(drag.svg, drag.from, place(drag.inverse, event));
  });
  document.addEventListener("pointerup", (event) => {
    if (!drag) return;
    const { svg, inverse, from } = drag;
    const to = place(inverse, event);
    const far = Math.hypot(to[0] - from[0], to[1] - from[1]) > svg.viewBox.baseVal.width / 50;
    send(svg, from, far ? to : null);
    drag = null;
  });
  document.addEventListener("pointercancel", () => { drag = null; });
  let cursor = null;
  document.addEventListener("keydown", (event) => {
    const svg = picture(event);
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (!svg || !(way || event.key === "Enter")) return;
    event.preventDefault();
    const { width, height } = svg.viewBox.baseVal;
    cursor = cursor || [width / 2, height / 2];
    if (!way) return send(svg, cursor, null);
    const far = event.shiftKey ? width / 100 : width / 25;
    cursor = [Math.min(width, Math.max(0, cursor[0] + way[0] * far)), Math.min(height, Math.max(0, cursor[1] + way[1] * far))];
    hint(svg, cursor);
  });
})();
