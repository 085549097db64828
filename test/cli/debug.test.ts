// The debug filters on what real hosts printed.

import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Capture, captures } from '../captures/captures.ts';
import { nftCaptures } from '../captures/nft.ts';
import { type FakeTerminal, openFakeTerminal, type Told } from './fake-terminal.ts';

let terminal: FakeTerminal;

beforeEach(async () => {
  terminal = await openFakeTerminal();
});
afterEach(() => terminal.close());

const filter = (line: string, input: string): Promise<Told> =>
  terminal.run(line, { uid: 1000, readInput: () => Promise.resolve(input) });
const ALL: readonly Capture[] = captures();
const rulesOf = (text: string): string[] =>
  text
    .split('\n')
    .filter((line) => /^(?:\[|-A)/.test(line))
    .map((line) => line.replace(/^\[\d+:\d+\] /, '').trimEnd())
    .sort();

const BASE = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:LIBVIRT_FWI - [0:0]
-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 80 -j ACCEPT
-A FORWARD -j LIBVIRT_FWI
-A FORWARD -j DROP
COMMIT
`;
const DISPLACED = BASE.replace('-A FORWARD -j LIBVIRT_FWI\n', '').replace(
  '-A FORWARD -d',
  '-A FORWARD -j LIBVIRT_FWI\n-A FORWARD -d',
);

describe('debug parse', () => {
  it(`gives the same bytes for each of ${ALL.length} captures`, async () => {
    const differing: string[] = [];
    for (const { name, family, text } of ALL) {
      const told = await filter(`debug parse --family ${family}`, text);
      if (told.exitCode !== 0 || told.out !== text) differing.push(name);
    }
    expect(differing).toEqual([]);
  });

  it('names file, line, column and code of what is malformed, with exit 2', async () => {
    const told = await filter('debug parse', '*filter\n:INPUT ACCEPT [0:0]\n-A web -j ACCEPT\nCOMMIT\n');
    expect(told).toMatchObject({ exitCode: 2, out: '' });
    expect(told.err).toMatch(/^-:3:4: unknown-chain: chain web is not declared; expected/);
    terminal.host.files.texts.set('/r', 'nonsense\n');
    expect((await filter('debug parse /r', '')).err).toMatch(/^\/r:1:1: bad-line: /);
    expect((await filter('debug parse /none', '')).exitCode).toBe(2);
  });
});

describe('debug parse --engine nft', () => {
  it('gives the same bytes for each listing of nft', async () => {
    for (const { name, text } of nftCaptures())
      expect([name, await filter('debug parse --engine nft', text)]).toMatchObject([name, { exitCode: 0, out: text }]);
  });

  it('names file, line, column and code of what is malformed, with exit 2', async () => {
    const told = await filter('debug parse --engine nft', 'table ip t {\n\tchain c {\n\t\taccept\n');
    expect(told).toMatchObject({ exitCode: 2, out: '' });
    expect(told.err).toMatch(/^-:2:2: unclosed-block: the block "chain c" is not closed; expected "}"/);
    terminal.host.files.texts.set('/r', '*filter\nCOMMIT\n');
    expect((await filter('debug parse --engine nft /r', '')).err).toMatch(
      /^\/r:1:1: no-table: .*\n\/r:2:1: no-table: /,
    );
    expect(await filter('debug parse --engine pf', '')).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('--engine: expected iptables or nft, found "pf"'),
    });
  });
});

describe('debug classify', () => {
  it('has one line with five fields a rule or chain, in the order of the text', async () => {
    for (const { family, text } of ALL.filter((_, at) => at % 5 === 0)) {
      const told = await filter(`debug classify --family ${family}`, text);
      const lines = told.out
        .trimEnd()
        .split('\n')
        .filter((line) => line !== '');
      const sources = text
        .split('\n')
        .filter((line) => /^(?::|\[|-A)/.test(line))
        .map((line) => line.trimEnd());
      expect(lines.map((line) => line.split('\t').slice(4).join('\t'))).toEqual(sources);
    }
  });

  it('names owner, evidence, table and chain; a chain by its own line', async () => {
    const { out } = await filter('debug classify', BASE);
    expect(out).toContain('libvirt\tchain name LIBVIRT_FWI\tfilter\tLIBVIRT_FWI\t:LIBVIRT_FWI - [0:0]\n');
    expect(out).toContain('user\tno owner claims it\tfilter\tFORWARD\t-A FORWARD -j DROP\n');
    expect(out).toContain('libvirt\tplain jump to LIBVIRT_FWI\tfilter\tFORWARD\t-A FORWARD -j LIBVIRT_FWI\n');
  });
});

describe('debug merge', () => {
  const merge = (base: string, live: string, more = ''): Promise<Told> => {
    terminal.host.files.texts.set('/base', base);
    return filter(`debug merge --snapshot /base ${more}`, live);
  };

  it('gives each capture back when nothing differs, with an empty plan', async () => {
    const wrong: string[] = [];
    for (const { name, family, text } of ALL.filter((_, at) => at % 4 === 0)) {
      terminal.host.files.texts.set('/base', text);
      const told = await filter(`debug merge --family ${family} --snapshot /base`, text);
      const plan = await filter(`debug plan --family ${family} --snapshot /base`, text);
      if (rulesOf(told.out).join('\n') !== rulesOf(text).join('\n') || plan.out !== '') wrong.push(name);
    }
    expect(wrong).toEqual([]);
  });

  it("puts a displaced user rule back above libvirt's jump, and says so on standard error", async () => {
    const told = await merge(BASE, DISPLACED);
    expect(told.exitCode).toBe(0);
    expect(told.out).toBe(BASE);
    expect(told.err).toBe('displaced ip filter FORWARD: against libvirt\n');
  });

  it.each([
    ['all user rules', BASE.replace(/-A FORWARD -[dj] (?!LIBVIRT).*\n/g, '')],
    ['one user rule', BASE.replace('-A FORWARD -j DROP\n', '')],
    ['the whole table', ''],
  ])('brings back %s that LIVE lacks', async (_, live) => {
    const { out, err } = await merge(BASE, live);
    expect(rulesOf(out)).toEqual(
      expect.arrayContaining(rulesOf(BASE).filter((rule) => !rule.includes('LIBVIRT'))) as string[],
    );
    expect(err).toContain('lost ip filter FORWARD');
  });

  it('keeps what LIVE has besides, of the user and of neighbours', async () => {
    const live = DISPLACED.replace(':LIBVIRT_FWI', ':LIBVIRT_FWO - [0:0]\n:LIBVIRT_FWI').replace(
      'COMMIT',
      '-A FORWARD -j LIBVIRT_FWO\n-A INPUT -s 10.1.1.1/32 -j DROP\nCOMMIT',
    );
    const { out } = await merge(BASE, live);
    expect(rulesOf(out)).toEqual(rulesOf(live));
  });

  it('prints with --plan, and as debug plan, restore input that leads there', async () => {
    const told = await merge(BASE, DISPLACED, '--plan');
    expect(told.out).toMatch(/^\*filter\n-D FORWARD [^\n]+\n-I FORWARD 1 [^\n]+\nCOMMIT\n$/);
    expect((await filter('debug plan --snapshot /base', DISPLACED)).out).toBe(told.out);
  });

  it("places libvirt's rules by the definition of its network, given as XML", async () => {
    terminal.host.files.texts.set('/bad.xml', '<network>');
    expect(await merge(BASE, BASE, '--networks /bad.xml')).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('/bad.xml: xml-') as string,
    });
  });

  it('refuses standard input for both', async () => {
    expect((await filter('debug merge --snapshot -', BASE)).exitCode).toBe(2);
  });
});
