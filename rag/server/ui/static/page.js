() => {
  const reducedMotion = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

  // -- a click on a citation marker scrolls to its source

  // A link to a fragment would reload the page, because Gradio sets <base href>: scroll by script.
  const linkTarget = (link) => document.getElementById(link.getAttribute("href").slice(1));
  const scrollToSource = (source) => {
    const section = source.closest("section");
    for (const other of section.parentElement.querySelectorAll(":scope > section")) {
      other.hidden = other !== section;
    }
    const fits = source.offsetHeight < Math.min(innerHeight, source.closest("#aside").clientHeight);
    const target = fits ? source : source.querySelector("mark");
    target.scrollIntoView({
      behavior: reducedMotion() ? "auto" : "smooth",
      block: fits ? "nearest" : "center",
    });
    source.focus({ preventScroll: true });
    source.classList.remove("flash");
    void source.offsetWidth; // forces a reflow, so that the animation restarts
    source.classList.add("flash");
  };
  const closeReader = () => document.querySelector("#reader:not(.hidden) [data-do=back]")?.click();

  // -- a citation marker shows its quote while it is hovered over or focused

  const tooltip = document.createElement("div");
  tooltip.id = "peek";
  tooltip.setAttribute("role", "tooltip");
  tooltip.hidden = true;
  document.body.append(tooltip);
  const showTooltip = (marker) => {
    const source = linkTarget(marker);
    if (!source) return;
    const title = document.createElement("strong");
    title.textContent = source.querySelector("h3").textContent;
    const quote = document.createElement("span");
    quote.textContent = source.querySelector("mark").textContent;
    quote.dir = title.dir = "auto";
    tooltip.replaceChildren(title, quote);
    tooltip.hidden = false;
    const box = marker.getBoundingClientRect();
    const left = Math.max(8, Math.min(box.left - 20, innerWidth - tooltip.offsetWidth - 8));
    const below = box.bottom + 4;
    const fits = below + tooltip.offsetHeight < innerHeight;
    tooltip.style.left = `${left}px`;
    tooltip.style.top = `${fits ? below : box.top - tooltip.offsetHeight - 4}px`;
    marker.setAttribute("aria-describedby", "peek");
  };
  const hideTooltip = () => {
    tooltip.hidden = true;
  };
  const markerOf = (event) => event.target.closest?.("a.marker");
  for (const type of ["mouseover", "focusin"]) {
    document.addEventListener(type, (event) => {
      if (markerOf(event)) showTooltip(markerOf(event));
      else if (!tooltip.contains(event.target)) hideTooltip();
    });
  }
  document.addEventListener("focusout", hideTooltip);
  document.addEventListener("scroll", hideTooltip, true);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hideTooltip();
  });

  // -- an answer is copied as Markdown

  const copyMarkdown = async (link) => {
    const markdown = linkTarget(link);
    try {
      await navigator.clipboard.writeText(markdown.value);
    } catch {
      // There is no clipboard where a page comes from another machine without HTTPS.
      markdown.hidden = false;
      markdown.select();
      document.execCommand("copy");
      markdown.hidden = true;
    }
    const label = link.textContent;
    link.textContent = markdown.dataset.copied;
    setTimeout(() => (link.textContent = label), 1500);
  };

  // Closing an article moves the focus back to the sources.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("[data-do=back]")) return;
    setTimeout(() => document.querySelector("#sources section:not([hidden]) .source")?.focus(), 300);
  });

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a.marker, a.copy");
    if (!link) return;
    event.preventDefault();
    if (link.matches(".copy")) return void copyMarkdown(link);
    hideTooltip();
    closeReader();
    const source = linkTarget(link);
    if (!source) return;
    // After an article was open, Gradio shows the sources again only once the server has replied.
    const delay = source.offsetParent ? 0 : 300;
    requestAnimationFrame(() => setTimeout(() => scrollToSource(source), delay));
  });

  // -- Gradio labels each chat message with its content, which here is HTML: label it with its author

  const labelMessages = () => {
    const reader = document.querySelector("#heading header")?.dataset.you;
    for (const message of document.querySelectorAll("#chat [data-testid][aria-label]")) {
      const author = message.dataset.testid === "user" ? reader : "Footnote";
      if (author && message.getAttribute("aria-label") !== author) {
        message.setAttribute("aria-label", author);
      }
    }
  };
  new MutationObserver(labelMessages).observe(document.body, {
    attributeFilter: ["aria-label"],
    childList: true,
    subtree: true,
  });
}
