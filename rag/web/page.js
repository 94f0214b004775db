() => {
  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // -- a marker leads to its source

  // A link to a fragment would load the page anew, because Gradio sets <base href>: move by script.
  const named = (link) => document.getElementById(link.getAttribute("href").slice(1));
  const reach = (source) => {
    const section = source.closest("section");
    for (const other of section.parentElement.querySelectorAll(":scope > section")) {
      other.hidden = other !== section;
    }
    const fits = source.offsetHeight < Math.min(innerHeight, source.closest("#aside").clientHeight);
    const goal = fits ? source : source.querySelector("mark");
    goal.scrollIntoView({ behavior: still() ? "auto" : "smooth", block: fits ? "nearest" : "center" });
    source.focus({ preventScroll: true });
    source.classList.remove("flash");
    void source.offsetWidth; // so that the animation begins again
    source.classList.add("flash");
  };
  const back = () => document.querySelector("#reader:not(.hidden) [data-do=back]")?.click();

  // -- a marker shows its quote, under the mouse and under the keyboard's focus

  const peek = document.createElement("div");
  peek.id = "peek";
  peek.setAttribute("role", "tooltip");
  peek.hidden = true;
  document.body.append(peek);
  const show = (marker) => {
    const source = named(marker);
    if (!source) return;
    const title = document.createElement("strong");
    title.textContent = source.querySelector("h3").textContent;
    const quote = document.createElement("span");
    quote.textContent = source.querySelector("mark").textContent;
    quote.dir = title.dir = "auto";
    peek.replaceChildren(title, quote);
    peek.hidden = false;
    const at = marker.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left - 20, innerWidth - peek.offsetWidth - 8));
    const below = at.bottom + 4;
    const fits = below + peek.offsetHeight < innerHeight;
    peek.style.left = `${left}px`;
    peek.style.top = `${fits ? below : at.top - peek.offsetHeight - 4}px`;
    marker.setAttribute("aria-describedby", "peek");
  };
  const hide = () => {
    peek.hidden = true;
  };
  const marker = (event) => event.target.closest?.("a.marker");
  for (const kind of ["mouseover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      if (marker(event)) show(marker(event));
      else if (!peek.contains(event.target)) hide();
    });
  }
  document.addEventListener("focusout", hide);
  document.addEventListener("scroll", hide, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });

  // -- an answer is copied as Markdown

  const copy = async (link) => {
    const held = named(link);
    try {
      await navigator.clipboard.writeText(held.value);
    } catch {
      held.hidden = false; // a page that does not come over https from afar has no clipboard
      held.select();
      document.execCommand("copy");
      held.hidden = true;
    }
    const said = link.textContent;
    link.textContent = held.dataset.copied;
    setTimeout(() => (link.textContent = said), 1500);
  };

  // Who goes back from an article is at its source again.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-do=back]")) return;
    setTimeout(() => document.querySelector("#sources section:not([hidden]) .source")?.focus(), 300);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.marker, a.copy");
    if (!link) return;
    event.preventDefault();
    if (link.matches(".copy")) return void copy(link);
    hide();
    back();
    const source = named(link);
    // The sources come back into view once Gradio has heard of it.
    if (source) requestAnimationFrame(() => setTimeout(() => reach(source), source.offsetParent ? 0 : 300));
  });

  // -- what Gradio names by its content, which here is HTML

  const name = () => {
    for (const message of document.querySelectorAll("#chat [data-testid][aria-label]")) {
      const who = message.dataset.testid === "user" ? "You" : "Footnote";
      if (message.getAttribute("aria-label") !== who) message.setAttribute("aria-label", who);
    }
  };
  new MutationObserver(name).observe(document.body, {
    attributeFilter: ["aria-label"],
    childList: true,
    subtree: true,
  });
}
