/** As high as its text, for browsers without `field-sizing`; the style sheet has the limit. */
export function grow(box: HTMLTextAreaElement | null): void {
  if (box === null || CSS.supports("field-sizing", "content")) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight}px`;
}
