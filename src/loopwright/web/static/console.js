// What has to work without the server's page code: STOP, who speaks, and pointing at the picture.
(() => {
  const author = () => {
    const kept = (document.cookie.match("(?:^|; )loopwright_author=([^;]*)") || [])[1] || "";
    try { return decodeURIComponent(kept).slice(0, 200) || "clinician"; } catch { return "clinician"; }
  };
  const BANNER_MS = 10000; // how long the banner says what is over
  let hiding;
  const banner = (text, ok, isOver) => {
    const at = document.getElementById("lw-banner");
    if (!at) return;
    clearTimeout(hiding);
    at.textContent = text;
    at.className = `lw-banner on${ok ? " ok" : ""}`;
    if (isOver) hiding = setTimeout(() => { at.className = "lw-banner"; }, BANNER_MS);
  };

  // STOP goes by a request of its own, and is tried again until it is answered.
  let stopping = false;
  async function stop() {
    const session = document.querySelector("[data-session]")?.dataset.session; // as it stands in an address
    if (!session || stopping) return;
    stopping = true;
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await fetch(`/api/sessions/${session}/stop`, {
          method: "POST",
          keepalive: true,
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ author: author() }),
        });
        const said = await answer.json().catch(() => ({}));
        if (answer.status < 500) {
          banner(answer.ok ? `STOP was delivered at ${new Date().toLocaleTimeString()}.` : `STOP: ${said.error}`, answer.ok, true);
          break;
        }
      } catch {}
      banner(`STOP is NOT delivered: no connection. Attempt ${attempt}; it is tried again.`, false, false);
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

  // A file that is sent to the server; the path that it has there goes into the field beside it.
  document.addEventListener("change", async (event) => {
    const input = event.target;
    const file = input.matches?.("input[data-to]") && input.files[0];
    if (!file) return;
    const row = input.closest(".lw-row");
    const status = row.querySelector("[role=status]");
    const size = `${file.name}, ${(file.size / 1e6).toPrecision(2)} MB`;
    status.textContent = `Sending ${size} …`;
    try {
      if (file.size > input.dataset.maxMb * 1e6) throw new Error(`it has more than ${input.dataset.maxMb} MB`);
      const answer = await fetch(`${input.dataset.to}?name=${encodeURIComponent(file.name)}`, { method: "PUT", body: file });
      const said = await answer.json();
      if (!answer.ok) throw new Error(said.error);
      status.textContent = `Sent: ${size}`;
      row.dispatchEvent(new CustomEvent("kept", { detail: said.path }));
    } catch (error) {
      status.textContent = `${file.name} was not sent: ${error.message}`;
    }
    input.value = "";
  });

  // A page whose token has expired says so: the server refuses to show it once more.
  const timer = setInterval(() => {
    const lasts = document.querySelector("[data-lasts]")?.dataset.lasts;
    if (lasts === undefined || performance.now() < lasts * 1000) return;
    clearInterval(timer);
    location.reload();
  }, 500);
})();
