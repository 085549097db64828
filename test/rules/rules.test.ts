// The pure half of rule files: names, fragments, composition, settling, lint, dialects, facts.

import { describe, expect, it } from 'vitest';
import { compose, composedText } from '../../src/rules/compose.ts';
import { translateLine } from '../../src/rules/dialect.ts';
import { guestFacts, isAddress, networkFacts, readAddresses } from '../../src/rules/facts.ts';
import { readFragment } from '../../src/rules/fragment.ts';
import { lint } from '../../src/rules/lint.ts';
import { isBackup, kindOfFile, ruleName } from '../../src/rules/names.ts';
import { type JudgedLine, settle } from '../../src/rules/settle.ts';
import { type Finding, type Place, placeIn, printFinding, type RuleSource } from '../../src/rules/types.ts';
import { userRulesOf, type UserRulesOf } from '../../src/rules/user-rules.ts';

const source = (file: string, text: string): RuleSource => ({
  file,
  kind: 'ip',
  template: false,
  written: text,
  text,
  lines: text.split('\n').map((_, index) => index + 1),
});

const inFilter = (...lines: readonly string[]): string => `*filter\n${lines.join('\n')}\nCOMMIT\n`;

function composeFiles(...texts: readonly string[]): ReturnType<typeof compose> {
  return compose(texts.map((text, index) => readFragment(source(`${index}.v4`, text), 'ip')));
}

/** As if iptables took each rule as typed. */
function accepted(...texts: readonly string[]): UserRulesOf {
  const composed = composeFiles(...texts);
  expect(composed.problems).toEqual([]);
  const { lines } = composedText(composed);
  const judged = lines.map((line, index): JudgedLine => ({
    line: index + 1,
    kind: 'ok',
    saved: line?.rule === undefined ? [] : [line.rule.text],
  }));
  return userRulesOf('ip', composed.tables, settle(judged, lines, [], (place) => place).saved, undefined);
}

const codes = (found: readonly Finding[]): string[] => found.map(({ code, file, line }) => `${code} ${file}:${line}`);

describe('names', () => {
  it.each([
    ['10-base.v4', { kind: 'ip', template: false }],
    ['10-base.v6.j2', { kind: 'ip6', template: true }],
    ['x.nft', { kind: 'native', template: false }],
    ['.10-base.v4', undefined],
    ['10-base.v4.dpkg-old', undefined],
    ['10-base.v4~', undefined],
    ['v4', undefined],
  ])('%s', (name, expected) => expect(ruleName(name)).toEqual(expected));

  it('of files given by hand go by name, then by text', () => {
    expect(kindOfFile('/etc/sysconfig/ip6tables', '').kind).toBe('ip6');
    expect(kindOfFile('/etc/nftables.conf', '#!/usr/sbin/nft -f\nflush ruleset\n').kind).toBe('native');
    expect(kindOfFile('/etc/sysconfig/iptables', '*filter\nCOMMIT\n').kind).toBe('ip');
    expect([isBackup('a.v4~'), isBackup('README'), isBackup('notes.txt')]).toEqual([true, true, false]);
  });
});

describe('composition', () => {
  it('merges fragments in order: chains of one file, rules of another, -P, -N and -I', () => {
    const { part } = accepted(
      inFilter('-P INPUT DROP', '-N web', '-A INPUT -j web'),
      inFilter('-A web -s 10.0.0.1 -j ACCEPT', '-I INPUT -i lo -j ACCEPT', '-I INPUT 2 -s 10.0.0.2 -j ACCEPT'),
    );
    const chains = part.tables.get('filter')?.chains;
    expect(chains?.get('INPUT')).toEqual({
      name: 'INPUT',
      policy: 'DROP',
      items: ['-A INPUT -i lo -j ACCEPT', '-A INPUT -s 10.0.0.2 -j ACCEPT', '-A INPUT -j web'].map((text) => ({
        kind: 'rule',
        text,
      })),
    });
    expect(chains?.get('web')?.policy).toBe('-');
  });

  it('keeps slot lines, with a chain or beside the next rule, and their texts', () => {
    const { part } = accepted(
      inFilter(
        '-A FORWARD -s 10.0.0.1 -j ACCEPT',
        '# mendwall: slot libvirt',
        '-A FORWARD -j DROP',
        '# mendwall: slot libvirt in INPUT',
        '# mendwall: | -A INPUT -j LIBVIRT_INP',
      ),
    );
    const items = (name: string) =>
      part.tables
        .get('filter')
        ?.chains.get(name)
        ?.items.map((item) => (item.kind === 'rule' ? item.text : `${item.owner} ${item.texts.join()}`));
    expect(items('FORWARD')).toEqual(['-A FORWARD -s 10.0.0.1 -j ACCEPT', 'libvirt ', '-A FORWARD -j DROP']);
    expect(items('INPUT')).toEqual(['libvirt -A INPUT -j LIBVIRT_INP']);
  });

  it("leaves a neighbour's rules out, knows their lines, and keeps their slot", () => {
    const { part, leftOut, placed } = accepted(
      inFilter(':LIBVIRT_FWX - [0:0]', '-A FORWARD -j LIBVIRT_FWX', '-A FORWARD -j DROP'),
    );
    expect(leftOut.map(({ line, owner }) => `${line} ${owner}`)).toEqual(['3 libvirt']);
    expect(placed.map(({ line, text }) => `${line} ${text}`)).toEqual(['4 -A FORWARD -j DROP']);
    expect([...(part.tables.get('filter')?.chains.keys() ?? [])]).toEqual(['FORWARD']);
    expect(part.tables.get('filter')?.chains.get('FORWARD')?.items[0]).toMatchObject({
      kind: 'slot',
      owner: 'libvirt',
    });
  });

  it.each([
    [[inFilter('-A INPTU -j DROP')], 'unknown-chain 0.v4:2', 'did you mean "INPUT"'],
    [[inFilter('-A PREROUTING -j DROP')], 'unknown-chain 0.v4:2', ''],
    [[inFilter(':INPUT DROP [0:0]'), inFilter(':INPUT ACCEPT [0:0]')], 'policy-again 1.v4:2', '0.v4:2 says DROP'],
    [[inFilter('-D INPUT 1')], 'bad-command 0.v4:2', 'found -D'],
    [['*filter\n-A INPUT -j DROP\n'], 'no-commit 0.v4:3', 'COMMIT'],
    [['-A INPUT -j DROP\n'], 'no-table 0.v4:1', '*filter'],
  ])('%j is a problem', (texts, place, message) => {
    const { problems } = composeFiles(...texts);
    expect(codes(problems)).toEqual([place]);
    expect(problems[0]?.message).toContain(message);
  });

  it("lets a neighbour's chain be filled and jumped to without a declaration", () => {
    expect(composeFiles(inFilter('-A DOCKER-USER -s 10.0.0.1 -j DROP', '-A INPUT -j LIBVIRT_INP')).problems).toEqual(
      [],
    );
  });
});

describe('what iptables said', () => {
  function said(
    text: string,
    answer: Partial<Extract<JudgedLine, { kind: 'bad' }>> | { kind: 'unchecked'; why: string },
  ): string {
    const composed = composeFiles(inFilter(text));
    const { lines } = composedText(composed);
    const at = lines.findIndex((line) => line?.rule !== undefined);
    const judged = [{ line: at + 1, saved: [], ...answer } as JudgedLine];
    const settled = settle(judged, lines, ['web'], (place, word) => placeIn(text, place, word));
    return [...settled.problems, ...settled.warnings].map(printFinding).join('\n');
  }
  const bad = (message: string) => ({
    kind: 'bad' as const,
    problem: { code: 'bad-line' as const, file: '-', line: 1, column: 1, message },
  });
  const unchecked = (why: string) => ({ kind: 'unchecked' as const, why });

  it.each([
    [
      '-A INPUT -p tcp --dprot 22',
      bad('unknown option "--dprot"'),
      '0.v4:2:17: bad-line: unknown option "--dprot" (did you mean "--dport"?)',
    ],
    [
      '-A INPUT -p tpc',
      bad('unknown protocol "tpc" specified'),
      '0.v4:2:13: bad-line: unknown protocol "tpc" specified (did you mean "tcp"?)',
    ],
    [
      '-A INPUT -j ACCPET',
      unchecked('there is no chain or target ACCPET now'),
      '0.v4:2:13: unknown-target: there is no chain or target ACCPET (did you mean "ACCEPT"?)',
    ],
    ['-A INPUT -j accept', unchecked('there is no chain or target accept now'), '(did you mean "ACCEPT"?)'],
    [
      '-A INPUT -m tcpp',
      unchecked('match extension tcpp cannot be loaded on this machine'),
      '0.v4:2:13: unknown-match',
    ],
    ['-A INPUT -m geoip', unchecked('match extension geoip cannot be loaded on this machine'), 'unknown-match'],
    ['-A INPUT -d ! 10.0.0.0/8', bad("Bad argument `10.0.0.0/8'"), 'old-dialect: "-d ! 10.0.0.0/8"'],
    ['-A INPUT -m set --match-set x src', unchecked('set x does not exist now'), '0.v4:2:29: missing-set'],
  ])('%s', (text, answer, expected) => expect(said(text, answer)).toContain(expected));
});

describe('lint', () => {
  function found(...lines: readonly string[]): string[] {
    const { part, placed } = accepted(inFilter(...lines));
    const empty = { family: 'ip6' as const, tables: new Map() };
    return codes(
      lint({
        parts: { ip: part, ip6: empty },
        placed,
        nativeFamilies: ['inet'],
        interfaces: new Set(['lo', 'eth0']),
        fileOf: () => '0.v4',
        point: (place) => place,
      }),
    );
  }

  it.each([
    [['-A INPUT -j ACCEPT', '-A INPUT -s 10.0.0.1 -j DROP', '-A INPUT -s 10.0.0.2 -j DROP'], ['never-matches 0.v4:3']],
    [['-A INPUT -s 10.0.0.1 -j DROP', '-A INPUT -s 10.0.0.1 -j DROP'], ['never-matches 0.v4:3']],
    [['-A INPUT -s 10.0.0.1 -j LOG', '-A INPUT -s 10.0.0.1 -j LOG'], []],
    [['-A INPUT -m limit --limit 1/sec -j ACCEPT', '-A INPUT -m limit --limit 1/sec -j ACCEPT'], []],
    [
      ['-A FORWARD -i eth9 -o eth0 -j ACCEPT', '-A FORWARD -i vnet3 -j ACCEPT', '-A FORWARD -i tun+ -j ACCEPT'],
      ['missing-interface 0.v4:2'],
    ],
    [[':INPUT DROP', '-A INPUT -i lo -j ACCEPT', '-A INPUT -p tcp -m tcp --dport 80 -j ACCEPT'], ['locks-out 0.v4:3']],
    [[':INPUT DROP', '-A INPUT -p tcp -m tcp --dport 22 -m state --state NEW -j ACCEPT'], ['locks-out 0.v4:3']],
    [
      [
        ':INPUT DROP',
        '-A INPUT -m state --state ESTABLISHED -j ACCEPT',
        '-A INPUT -p tcp -m tcp --dport 20:25 -m state --state NEW -j ACCEPT',
      ],
      [],
    ],
    [[':web -', '-A INPUT -j web', '-A INPUT -j DROP', '-A web -p tcp -m multiport --dports 80,22 -j ACCEPT'], []],
    [['-A INPUT -s 10.0.0.1 -j ACCEPT', '-A INPUT -j DROP'], []],
  ])('%j', (lines, expected) => expect(found(...lines)).toEqual(expected));

  it('says which family is left open', () => {
    const { part, placed } = accepted(inFilter('-A FORWARD -j DROP'));
    const ip6 = { family: 'ip6' as const, tables: new Map() };
    const base = {
      parts: { ip: part, ip6 },
      placed,
      interfaces: undefined,
      fileOf: () => '0.v4',
      point: (place: Place) => place,
    };
    expect(codes(lint({ ...base, nativeFamilies: [] }))).toEqual(['one-family 0.v4:0']);
    expect(lint({ ...base, nativeFamilies: ['ip6'] })).toEqual([]);
  });
});

describe('old dialects', () => {
  it.each([
    ['-A INPUT -d ! 10.0.0.0/255.0.0.0 -j DROP', '-A INPUT ! -d 10.0.0.0/255.0.0.0 -j DROP'],
    ['-A INPUT -i ! lo -p tcp -m tcp --dport ! 22 -j DROP', '-A INPUT ! -i lo -p tcp -m tcp ! --dport 22 -j DROP'],
    ['-A INPUT -s !10.0.0.1 -j DROP', '-A INPUT ! -s 10.0.0.1 -j DROP'],
    [
      '-A INPUT -p tcp -m tcp --tcp-flags ! SYN,RST SYN -j DROP',
      '-A INPUT -p tcp -m tcp ! --tcp-flags SYN,RST SYN -j DROP',
    ],
    ['-A INPUT –dport 22\u00a0-j DROP', '-A INPUT --dport 22 -j DROP'],
    [
      '-A INPUT -j ULOG --ulog-prefix "a ! b" --ulog-nlgroup 2',
      '-A INPUT -j NFLOG --nflog-prefix "a ! b" --nflog-group 2',
    ],
    ['-A INPUT -m set --set bad src -j DROP', '-A INPUT -m set --match-set bad src -j DROP'],
    ['-A INPUT -m string --string "x" -j DROP', '-A INPUT -m string --algo bm --string "x" -j DROP'],
    ['[1:2] -A INPUT -d ! 10.0.0.1 -j DROP', '[1:2] -A INPUT ! -d 10.0.0.1 -j DROP'],
  ])('%s', (old, today) => {
    expect(translateLine(old).text).toBe(today);
    expect(translateLine(old).changes.length).toBeGreaterThan(0);
    expect(translateLine(today)).toEqual({ text: today, changes: [] });
  });

  it.each([
    '-A INPUT ! -d 10.0.0.1 -p tcp -m tcp ! --syn -j DROP',
    '-A INPUT -m state --state NEW -j ACCEPT ',
    '-A INPUT -m comment --comment "-d ! x" -j DROP',
    '# -d ! x',
    '-A INPUT -m recent --set --name x',
  ])('leaves %j alone', (line) => expect(translateLine(line)).toEqual({ text: line, changes: [] }));
});

describe('facts', () => {
  it('are addresses, each checked', () => {
    expect(readAddresses('# a\n10.0.0.1\n\n fd00::/64 # b\n10.0.0.0/255.0.0.0\n')).toEqual({
      values: ['10.0.0.1', 'fd00::/64', '10.0.0.0/255.0.0.0'],
      problems: [],
    });
    const { problems } = readAddresses('10.0.0.1\n  10.0.0.1 -j ACCEPT\n');
    expect(problems.map(({ line, column }) => `${line}:${column}`)).toEqual(['2:3']);
    expect(['10.0.0.256', '10.0.0.1/33', 'fd00::/129', 'host', '10.0.0.1/', '1/2/3'].filter(isAddress)).toEqual([]);
  });

  it("let nothing of a guest's through but plain words", () => {
    const { facts } = networkFacts([
      {
        name: 'default',
        uuid: '',
        bridge: 'virbr0',
        forwardMode: 'nat',
        forwardDevs: [],
        natIpv6: false,
        guestIpv6: false,
        addresses: [{ family: 'ip', cidr: '192.168.122.0/24', host: '192.168.122.1', dhcp: true, tftp: false }],
        active: true,
      },
    ]);
    const network = facts[0];
    if (network === undefined) throw new Error('no network');
    const lease = (hostname: unknown, ip = '192.168.122.9') => ({
      'ip-address': ip,
      'mac-address': '52:54:00:00:00:01',
      hostname,
    });
    const macs = [
      { domain: 'web-1', macs: ['52:54:00:00:00:01'] },
      { domain: 'a\nb', macs: ['52:54:00:00:00:02'] },
    ];
    for (const evil of ['a -j ACCEPT', 'a\n-A INPUT -j ACCEPT', '{{ 1 }}', '-x', 'é', '"', '$(id)'])
      expect(guestFacts(network, [lease(evil)], macs).facts).toEqual([
        {
          name: 'web-1',
          ip: '192.168.122.9',
          mac: '52:54:00:00:00:01',
          hostname: '',
          network: 'default',
          bridge: 'virbr0',
        },
      ]);
    expect(guestFacts(network, [lease('web.example.org')], macs).facts[0]?.hostname).toBe('web.example.org');
    expect(guestFacts(network, [lease('a', '1.2.3.4 -j ACCEPT')], macs)).toMatchObject({
      facts: [],
      omitted: [expect.stringContaining('no address')],
    });
    expect(guestFacts(network, 'nonsense', { a: 1 })).toEqual({ facts: [], omitted: [] });
  });
});
