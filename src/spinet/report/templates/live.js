(() => {
  const tag = "TAG", key = "open";
  const details = () => [...document.querySelectorAll("details")];
  const open = (sessionStorage.getItem(key) || "").split(",");
  details().forEach((one, index) => { one.open = open.includes(String(index)); });
  const note = document.createElement("p");
  note.id = "live";
  note.setAttribute("role", "status");
  note.style.cssText = "position: fixed; right: 12px; bottom: 0; margin: 0 0 12px; padding: 3px 10px; font-size: 12.5px;"
    + "border: 1px solid var(--line); border-radius: 8px; background: var(--paper); color: var(--grey)";
  const say = (text) => { if (note.textContent !== text) note.textContent = text; };
  say("live");
  document.body.append(note);
  const ask = (method) => fetch("/", { method, cache: "no-store" });
  // The next question is asked once this one is answered: a page that takes long to make must not be asked for twice.
  const later = () => setTimeout(follow, 3000);
  const follow = async () => {
    try {
      const answer = await ask("HEAD");
      say("live");
      if (answer.headers.get("ETag") === `"${tag}"` || document.hidden) return later();
      await ask("GET"); // made now, so that what follows is quick
    } catch {
      say("not live: the command that serves this page has ended");
      return later();
    }
    sessionStorage.setItem(key, details().flatMap((one, index) => (one.open ? [index] : [])).join(","));
    location.reload();
  };
  later();
})();
