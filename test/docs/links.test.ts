// Relative links in all Markdown files lead to a file, and to a heading of it where they name one.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const TOP = fileURLToPath(new URL('../..', import.meta.url));
const SKIPPED = new Set(['node_modules', 'dist', '.git', 'captures', 'coverage']);
const PAGES = pagesIn(TOP);

function pagesIn(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (SKIPPED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return pagesIn(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

/** Without fenced and inline code, which shows text and links nowhere. */
function proseOf(page: string): string {
  return readFileSync(page, 'utf8')
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, '``');
}

/** `[tour](tour.md)`, `[drift](drift.md#stale)`, `[below](#limits)`; not `https://...` */
function linksOf(page: string): string[] {
  const links = [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target = '']) => target);
  return links.filter((target) => !/^[a-z]+:/.test(target));
}

/** Headings as GitHub names them: lower case, blanks to `-`, marks left out. */
function anchorsOf(page: string): Set<string> {
  const headings = readFileSync(page, 'utf8')
    .replace(/^```[\s\S]*?^```/gm, '')
    .matchAll(/^#+ (.+)$/gm);
  return new Set(
    [...headings].map(([, title = '']) =>
      title
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

function isBroken(page: string, link: string): boolean {
  const [path = '', anchor] = link.split('#');
  const target = path === '' ? page : join(dirname(page), path);
  if (!existsSync(target)) return true;
  return anchor !== undefined && (statSync(target).isDirectory() || !anchorsOf(target).has(anchor));
}

describe('Markdown', () => {
  it('is found, with links in it', () => {
    expect(PAGES.map((page) => relative(TOP, page))).toContain('README.md');
    expect(PAGES.flatMap(linksOf).length).toBeGreaterThan(40);
  });

  it.each(PAGES.map((page) => relative(TOP, page)))('links of %s lead somewhere', (name) => {
    const page = join(TOP, name);
    expect(linksOf(page).filter((link) => isBroken(page, link))).toEqual([]);
  });

  it('names every ADR in its index', () => {
    const folder = join(TOP, 'docs/adr');
    const records = readdirSync(folder).filter((name) => /^\d{4}-/.test(name));
    const listed = linksOf(join(folder, 'README.md'));
    expect(records.length).toBeGreaterThan(10);
    expect(records.filter((name) => !listed.includes(name))).toEqual([]);
  });
});
