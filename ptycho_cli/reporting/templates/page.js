"use strict";
for (const button of document.querySelectorAll(".zoom")) {
  button.addEventListener("click", () => {
    const dialog = document.querySelector("dialog");
    const picture = button.querySelector("svg").cloneNode(true);
    const box = picture.viewBox.baseVal;
    let width = 0;
    const show = (wanted) => { width = wanted; picture.style.width = width + "px"; picture.style.height = (width * box.height) / box.width + "px"; };
    dialog.querySelector("b").textContent = button.getAttribute("aria-label");
    dialog.querySelector(".place").replaceChildren(picture);
    dialog.querySelector(".larger").onclick = () => show(width * 1.5);
    dialog.querySelector(".smaller").onclick = () => show(width / 1.5);
    dialog.querySelector(".close").onclick = () => dialog.close();
    dialog.showModal();
    show(Math.min(dialog.clientWidth, ((dialog.clientHeight - 50) * box.width) / box.height));
  });
}
addEventListener("beforeprint", () => { for (const part of document.querySelectorAll("details:not(.long)")) part.open = true; });
