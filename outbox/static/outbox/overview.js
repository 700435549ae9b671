/* Keeps the overview up to date: fetches the part that changes every few seconds, and puts in place
   what is new in it. Rests while the page is hidden; the page works without it. */
"use strict";
(() => {
    const page = document.getElementById("outbox-state");
    const note = document.getElementById("outbox-refreshed");
    if (!page || !note) {
        return;
    }
    const every = Number(page.dataset.every) * 1000;
    const parts = () => page.querySelectorAll(":scope > [id]");
    /* As the server has sent them: a browser may write the same thing otherwise. */
    const shown = new Map();
    let timer = 0;

    function put(part) {
        const before = document.getElementById(part.id);
        if (!before || shown.get(part.id) === part.outerHTML) {
            return;
        }
        /* Not under the fingers of somebody who selects something there. */
        const selection = document.getSelection();
        if (selection && !selection.isCollapsed && before.contains(selection.anchorNode)) {
            return;
        }
        shown.set(part.id, part.outerHTML);
        const focus = before.contains(document.activeElement) ? document.activeElement.id : "";
        const open = new Set([...before.querySelectorAll("details[open][id]")].map((one) => one.id));
        before.replaceChildren(...part.childNodes);
        before.className = part.className;
        for (const one of before.querySelectorAll("details[id]")) {
            one.open = open.has(one.id);
        }
        if (focus) {
            document.getElementById(focus)?.focus({ preventScroll: true });
        }
    }

    async function refresh() {
        try {
            const answer = await fetch(page.dataset.refresh, {
                credentials: "same-origin",
                cache: "no-store",
                redirect: "error",
                signal: AbortSignal.timeout(10000),
            });
            const text = answer.status === 200 ? await answer.text() : "";
            const fresh = new DOMParser().parseFromString(text, "text/html").body;
            const found = fresh.querySelectorAll(":scope > [id]");
            if (!found.length) {
                throw new Error(`answered ${answer.status}`);
            }
            found.forEach(put);
            note.textContent = `Refreshed every ${page.dataset.every} seconds.`;
            page.classList.remove("outbox-stale");
        } catch {
            note.textContent =
                "This can't be refreshed at the moment, so it is what was known then. Reload the "
                + "page to see why.";
            page.classList.add("outbox-stale");
        }
    }

    async function again() {
        window.clearTimeout(timer);
        if (!document.hidden) {
            await refresh();
            window.clearTimeout(timer);
            timer = window.setTimeout(again, every);
        }
    }

    parts().forEach((part) => shown.set(part.id, part.outerHTML));
    note.textContent = `Refreshed every ${page.dataset.every} seconds.`;
    timer = window.setTimeout(again, every);
    document.addEventListener("visibilitychange", again);
})();
