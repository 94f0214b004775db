() => {
  // A link to a fragment would load the page anew, because Gradio sets <base href>: move by script.
  const reach = (source) => {
    const section = source.closest("section");
    for (const other of section.parentElement.querySelectorAll(":scope > section")) {
      other.hidden = other !== section;
    }
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const fits = source.offsetHeight < Math.min(innerHeight, source.closest("#sources").clientHeight);
    const goal = fits ? source : source.querySelector("mark");
    goal.scrollIntoView({ behavior: still ? "auto" : "smooth", block: fits ? "nearest" : "center" });
    source.focus({ preventScroll: true });
    source.classList.remove("flash");
    void source.offsetWidth; // so that the animation begins again
    source.classList.add("flash");
  };
  document.addEventListener("click", (event) => {
    const marker = event.target.closest?.("a.marker");
    if (!marker) return;
    event.preventDefault();
    const source = document.getElementById(marker.getAttribute("href").slice(1));
    if (source) reach(source);
  });

  // Gradio names each message by its content, which here is HTML: name it by who speaks.
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
