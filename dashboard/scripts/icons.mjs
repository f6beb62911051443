// Makes the icons in public/ and src/app/ from one drawing: `node scripts/icons.mjs`. Needs sharp, which comes with Next.
import { writeFile } from "node:fs/promises";
import sharp from "sharp";

const [ground, paper] = ["#0b6557", "#ffffff"];
const sheet = `
  <path d="M19 14h19l9 9v27H19z" fill="${paper}"/>
  <path d="M38 14v9h9" fill="none" stroke="${ground}" stroke-width="2.5"/>
  <path d="m25.5 36 5.500 5.500 10-11" fill="none" stroke="${ground}" stroke-width="4" stroke-linecap="round" stroke-linejoin="round"/>`;
const svg = (corner, scale) => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64">
  <rect width="64" height="64" rx="${corner}" fill="${ground}"/>
  <g transform="translate(32 32) scale(${scale}) translate(-33 -32)">${sheet}
  </g>
</svg>
`;
const png = (drawing, size) => sharp(Buffer.from(drawing), { density: 600 }).resize(size, size).png({ compressionLevel: 9 }).toBuffer();

await writeFile("src/app/icon.svg", svg(15, 1));
for (const size of [192, 512]) await writeFile(`public/icon-${size}.png`, await png(svg(15, 1), size));
await writeFile("public/icon-maskable-512.png", await png(svg(0, 0.75), 512));
await writeFile("src/app/apple-icon.png", await png(svg(0, 0.9), 180));
