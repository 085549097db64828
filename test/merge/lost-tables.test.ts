// Which neighbours' native tables count as lost.

import { describe, expect, it } from 'vitest';
import { foreignTables, lostTables, lostTablesDrift, type LostTablesQuestion } from '../../src/merge/lost-tables.ts';

const FIREWALLD = new Map([['inet firewalld', 'firewalld']]);
const DOCKER = new Map([
  ['ip docker-bridges', 'docker'],
  ['ip6 docker-bridges', 'docker'],
]);
const NONE = new Map<string, string>();

const ask = (more: Partial<LostTablesQuestion>): string[] => [
  ...lostTables({
    known: FIREWALLD,
    lost: NONE,
    now: NONE,
    wiped: true,
    writers: new Set(),
    isActive: () => true,
    ...more,
  }).keys(),
];

describe('a neighbour’s native table', () => {
  it('is known by its name; libvirt’s, mendwall’s and the user’s are none', () => {
    const names = ['inet firewalld', 'ip libvirt_network', 'ip mendwall', 'inet filter', 'inet f2b-table']
      .map((key) => `table ${key} {\n}\n`)
      .join('');
    expect([...foreignTables(names)]).toEqual([
      ['inet firewalld', 'firewalld'],
      ['inet f2b-table', 'fail2ban'],
    ]);
  });

  it('is lost where somebody flushed or loaded, not where its owner wrote or nobody flushed', () => {
    expect(ask({})).toEqual(['inet firewalld']);
    expect(ask({ wiped: false })).toEqual([]);
    expect(ask({ writers: new Set(['firewalld']) })).toEqual([]);
    expect(ask({ writers: new Set(['docker']) })).toEqual(['inet firewalld']);
    expect(ask({ now: FIREWALLD })).toEqual([]);
    expect(ask({ known: NONE })).toEqual([]);
  });

  it('stays lost without another flush, until it is there again or nobody wants it', () => {
    const before = { known: NONE, lost: FIREWALLD, wiped: false };
    expect(ask(before)).toEqual(['inet firewalld']);
    expect(ask({ ...before, now: FIREWALLD })).toEqual([]);
    expect(ask({ ...before, isActive: () => false })).toEqual([]);
  });

  it('is said once an owner, with the names and what puts them right', () => {
    expect(lostTablesDrift(new Map([...FIREWALLD, ...DOCKER]))).toMatchObject([
      {
        kind: 'foreign-lost',
        family: 'inet',
        table: 'firewalld',
        owner: 'firewalld',
        evidence: expect.stringMatching(/^firewalld lost table inet firewalld; puts it right: firewall-cmd --reload/),
      },
      {
        family: 'ip',
        owner: 'docker',
        evidence: expect.stringMatching(
          /^docker lost 2 tables, ip docker-bridges, ip6 docker-bridges; puts it right: /,
        ),
      },
    ]);
  });
});
