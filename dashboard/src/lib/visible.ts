/** Characters that can't be seen or that turn the text around are written out, as `utils/core/visible.py` does; U+FE0F after a picture is spelling. */

const UNSEEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\ufe00-\ufe0e\uffa0\u{e0000}-\u{e0fff}]|(?<![\p{So}\p{Sm}\p{Po}0-9#*])\ufe0f/gu;

export interface Piece {
  text: string;
  isUnseen: boolean;
}

/** `text` in pieces; those that can't be seen read `⟦U+202E⟧`. Line breaks and tabs stay. */
export function pieces(text: string): Piece[] {
  const lines = text.replaceAll("\r\n", "\n");
  const found: Piece[] = [];
  let from = 0;
  for (const { 0: character, index } of lines.matchAll(UNSEEN)) {
    if (character === "\n" || character === "\t") continue;
    if (index > from) found.push({ text: lines.slice(from, index), isUnseen: false });
    found.push({ text: written(character), isUnseen: true });
    from = index + character.length;
  }
  if (from < lines.length) found.push({ text: lines.slice(from), isUnseen: false });
  return found;
}

function written(character: string): string {
  return `⟦U+${(character.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟧`;
}
