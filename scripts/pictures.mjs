/**
 * `npm run pictures`: the pictures of README and docs/pictures.md from the screenshots that the tests of all views leave in
 * artifacts/ui (`npm run test:ui:long` takes them). Every view becomes a sheet of its themes (columns) and languages (rows),
 * and those of README a picture of their own. The browser of the tests scales and compresses them.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import { root } from './setup.mjs';

const THEMES = ['light', 'dark', 'contrast'];
const LANGUAGES = ['en', 'zh'];
const SHOTS = join(root, 'artifacts', 'ui');
const OUT = join(root, 'docs', 'pictures');

/** Pixels; the screenshots are 1280 wide, and the view of prompt sets is the left part of its ones. */
const TILE_WIDTH = 400;
const SIDE_BAR_WIDTH = 376;
const SIDE_BAR_TILE_WIDTH = 236;
const README_WIDTH = 720;
const QUALITY = 0.58;

/** In the order of docs/pictures.md; `readme`: the language and theme in which README shows it. */
const VIEWS = [
  { name: 'answer', title: 'An answer', readme: 'en-light' },
  { name: 'writing', title: 'An answer being written', readme: 'en-dark' },
  { name: 'stopped', title: 'An answer that was stopped' },
  { name: 'error', title: 'A question without an answer', readme: 'zh-light' },
  { name: 'history', title: 'History', readme: 'en-dark' },
  { name: 'history-search', title: 'Search in the history', readme: 'zh-dark' },
  { name: 'prompts-welcome', title: 'Prompt sets: the first page' },
  { name: 'prompts-empty', title: 'Prompt sets: a new set' },
  { name: 'prompts-settings', title: 'Prompt sets: options and settings' },
  { name: 'prompts-checked', title: 'Prompt sets: examples checked, the odd one marked' },
  { name: 'prompts-compared', title: 'Prompt sets: checked again after an edit' },
  { name: 'prompts-conflict', title: 'Prompt sets: the file was changed elsewhere' },
  { name: 'prompts-deleted', title: 'Prompt sets: an example deleted' },
  { name: 'prompts-broken', title: 'Prompt sets: a file that cannot be read' },
  { name: 'prompts-too-long', title: 'Prompt sets: what does not fit' },
  { name: 'prompts-error', title: 'Prompt sets: a run that is refused' },
  { name: 'prompts-answer', title: 'Prompt sets: an answer and its rivals' },
  { name: 'prompts-selection', title: 'Prompt sets: on the selection' },
  { name: 'prompts-file', title: 'Prompt sets: on the lines of a file' },
  { name: 'models', title: 'Choosing the model', readme: 'zh-contrast' },
  { name: 'install', title: 'Installing a model', readme: 'en-light' },
  { name: 'menu', title: 'The menu of the status bar', readme: 'en-contrast' },
  { name: 'doctor', title: 'What this machine can run', readme: 'zh-dark' },
  { name: 'settings', title: 'Settings', readme: 'en-light' },
  { name: 'walkthrough', title: 'Get started', readme: 'zh-light' },
  { name: 'details', title: 'The page of the extension' },
];

/** The prompt sets of README, side by side. */
const README_PROMPTS = [
  ['prompts-checked', 'en-light'],
  ['prompts-answer', 'en-dark'],
  ['prompts-file', 'en-contrast'],
  ['prompts-compared', 'en-light'],
];

/** Runs in the browser. `tiles` are addresses of pictures, drawn `columns` in a row; gives an address, too. */
async function draw({ tiles, columns, width, part, quality, gap }) {
  const images = await Promise.all(
    tiles.map(async (source) => {
      const image = new Image();
      image.src = source;
      await image.decode();
      return image;
    }),
  );
  const shown = part ?? images[0].width;
  const heightOf = (image) => Math.round((width * image.height) / shown);
  const height = Math.max(...images.map(heightOf));
  const canvas = document.createElement('canvas');
  canvas.width = columns * width + (columns - 1) * gap;
  canvas.height = Math.ceil(tiles.length / columns) * (height + gap) - gap;
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'high';
  context.fillStyle = '#808080';
  context.fillRect(0, 0, canvas.width, canvas.height);
  for (const [index, image] of images.entries()) {
    const [x, y] = [(index % columns) * (width + gap), Math.floor(index / columns) * (height + gap)];
    context.drawImage(image, 0, 0, shown, image.height, x, y, width, heightOf(image));
  }
  return canvas.toDataURL('image/webp', quality);
}

const shot = (view, look) => join(SHOTS, `${view}-${look}.png`);
const looks = LANGUAGES.flatMap((language) => THEMES.map((theme) => `${language}-${theme}`));
const missing = VIEWS.flatMap(({ name }) => looks.map((look) => shot(name, look))).filter((file) => !existsSync(file));
if (missing.length > 0) {
  console.error(
    `${missing.length} screenshots are missing, ${missing[0]} is the first: npm run test:ui:long takes them.`,
  );
  process.exit(1);
}

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--headless', '--no-sandbox'] });
const page = await browser.newPage();
const address = (file) => `data:image/png;base64,${readFileSync(file).toString('base64')}`;
let total = 0;
async function write(name, files, layout) {
  const picture = await page.evaluate(draw, { tiles: files.map(address), quality: QUALITY, gap: 4, ...layout });
  const bytes = Buffer.from(picture.slice(picture.indexOf(',') + 1), 'base64');
  writeFileSync(join(OUT, `${name}.webp`), bytes);
  total += bytes.length;
}

mkdirSync(OUT, { recursive: true });
for (const old of readdirSync(OUT)) rmSync(join(OUT, old));
const lines = [
  '# Pictures',
  '',
  'Every view in a light, a dark and a high-contrast theme, in English and in Simplified Chinese, as the tests see them. The',
  "editor's own words stay English in the tests, because its language pack is not installed there. Made by `npm run pictures`.",
  '',
];
for (const { name, title, readme } of VIEWS) {
  await write(
    name,
    looks.map((look) => shot(name, look)),
    name.startsWith('prompts-')
      ? { columns: looks.length, width: SIDE_BAR_TILE_WIDTH, part: SIDE_BAR_WIDTH }
      : { columns: THEMES.length, width: TILE_WIDTH },
  );
  lines.push(`## ${title}`, '', `![${title}: three themes, two languages](pictures/${name}.webp)`, '');
  if (readme !== undefined) await write(`readme-${name}`, [shot(name, readme)], { columns: 1, width: README_WIDTH });
}
await write(
  'readme-prompts',
  README_PROMPTS.map(([name, look]) => shot(name, look)),
  { columns: README_PROMPTS.length, width: SIDE_BAR_WIDTH, part: SIDE_BAR_WIDTH },
);
await browser.close();
writeFileSync(join(root, 'docs', 'pictures.md'), `${lines.join('\n').trimEnd()}\n`);
console.log(`${VIEWS.length} views, ${(total / 1e6).toFixed(2)} MB in docs/pictures`);
