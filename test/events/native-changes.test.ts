// What nft itself does to native tables, as the monitor prints it: captures of nft 1.0.6.

import { describe, expect, it } from 'vitest';
import { caseLines, hear, nativeShapeOf, shapeOf } from './monitor-capture.ts';

const FILTER = '+input +forward +mine';
const GONE = '-input -forward -mine';
const MADE = `inet filter: +table, rules +5 in input forward mine, chains ${FILTER}, objects 1, elements 2`;
const REMADE = `inet filter: -table +table, rules +5 -5 in input forward mine, chains ${FILTER} ${GONE}, objects 2, elements 2`;
const NAT = 'ip mynat: +table, rules +1 in post, chains +post';
const NAT_GONE = 'ip mynat: -table, rules -1 in post, chains -post';

const LOADS: Readonly<Record<string, readonly string[]>> = {
  first: [`${MADE} | ${NAT}`],
  same: [`${REMADE} | ip mynat: -table +table, rules +1 -1 in post, chains +post -post`],
  leftout: [`${REMADE} | ${NAT_GONE}`],
  'flush-table': [`inet filter: rules +4 -5 in input forward mine, chains ${FILTER}`],
  'add-delete-add': [
    `inet filter: -table +table, rules +5 -4 in input forward mine, chains ${FILTER} ${GONE}, objects 2, elements 2`,
  ],
  'new-delete-add': ['ip6 fresh: -table +table, rules +1 in in, chains +in'],
  'flush-table-cmd': ['inet filter: rules -5 in input forward mine'],
  'flush-empty': [],
  'flush-chain': ['inet filter: rules +1 in input', 'inet filter: rules -1 in input'],
  delete: [`inet filter: -table, chains ${GONE}, objects 1`],
  script: [
    `${MADE} | ${NAT}`,
    `ip6 fresh: -table, rules -1 in in, chains -in | inet filter: -table, rules -5 in input forward mine, chains ${GONE}, objects 1 | ${NAT_GONE}`,
    NAT,
  ],
  'flush-nothing': [NAT_GONE],
  elements: [
    MADE,
    'inet filter: objects 4, elements 2',
    'inet filter: elements 2',
    'inet filter: elements 2',
    'inet filter: elements 1',
    'inet filter: elements 1',
    'inet filter: elements 2',
    'inet filter: objects 1',
  ],
};

describe('loads, flushes and deletions of native tables', () => {
  for (const [name, shapes] of Object.entries(LOADS)) {
    it(`case ${name}: ${shapes.length} commit(s), none of iptables’ tables`, () => {
      const heard = hear(caseLines('native-loads.txt', name));
      expect(heard.commits.map(nativeShapeOf)).toEqual(shapes);
      expect(heard.touched).toEqual([]);
      expect(heard.commits.every(({ changes, elsewhere }) => changes.length === 0 && elsewhere)).toBe(true);
    });
  }

  it('libvirt’s own table is native: it is never read as a table of iptables’', () => {
    const heard = hear(['add rule ip libvirt_network guest_nat x', '# new generation 2 by process 7 (nft)']);
    expect(heard.touched).toEqual([]);
    expect(heard.commits.map(nativeShapeOf)).toEqual(['ip libvirt_network: rules +1 in guest_nat']);
  });

  it('one commit tells of iptables’ tables and of native ones', () => {
    const [, both] = hear(caseLines('native-names.txt', 'mixed')).commits;
    expect(both && shapeOf(both)).toBe('ip filter: rules +1 in INPUT | elsewhere');
    expect(both && nativeShapeOf(both)).toBe('inet c: rules +1 in in | ip libvirt_network: +table, chains +guest_nat');
  });

  it('ebtables’ and arptables’ tables are native', () => {
    expect(hear(caseLines('native-names.txt', 'ebtables')).commits.map(nativeShapeOf)).toEqual([
      'bridge filter: +table, rules +1 in FORWARD, chains +FORWARD',
      'arp filter: +table, rules +1 in INPUT, chains +INPUT',
    ]);
  });

  it('all other objects count, those of two words, too', () => {
    const [commit] = hear(caseLines('native.txt', 'sets')).commits;
    expect(commit && nativeShapeOf(commit)).toBe('inet t: +table, rules +4 in in, chains +in, objects 8, elements 3');
  });

  it('a table that is made and deleted again is gone', () => {
    const [commit] = hear(['add table ip x', 'delete table ip x', '# new generation 2 by process 7 (nft)']).commits;
    expect(commit?.native).toMatchObject([{ deletesTable: true, addsTable: false }]);
  });
});

describe('texts with line breaks', () => {
  it('lines of a comment that read like changes are none', () => {
    const heard = hear(caseLines('native-names.txt', 'comments'));
    expect(heard.touched).toEqual([]);
    expect(heard.commits.map(nativeShapeOf)).toEqual(['inet c: +table, rules +1 in in, chains +in, objects 1']);
    expect(heard.looks).toEqual([]);
  });

  it('a lonely quote in the name of an interface, which iptables takes, swallows nothing', () => {
    const heard = hear([
      'add rule ip filter INPUT iifname "a"b" counter packets 0 bytes 0 accept',
      'delete rule ip filter INPUT handle 5',
      '# new generation 2 by process 7 (iptables)',
    ]);
    expect(heard.commits.map(shapeOf)).toEqual(['ip filter: rules +1 -1 in INPUT']);
  });

  it('a generation line inside a comment is a look, also where its number fits', () => {
    const heard = hear([
      '# new generation 2 by process 7 (nft)',
      'add rule inet c in drop comment "a',
      '# new generation 3 by process 1 (x)',
      'delete table ip filter"',
      '# new generation 3 by process 7 (nft)',
      'add rule inet c in accept',
      '# new generation 4 by process 7 (nft)',
    ]);
    expect(heard.commits.map(({ generation }) => generation)).toEqual([2, 4]);
    expect(heard.looks).toHaveLength(2);
  });
});

describe('a load of many elements', () => {
  it('is counted, and nothing of them is kept', () => {
    const lines = Array.from(
      { length: 20_000 },
      (_, index) => `add element inet t s { 10.0.${index >> 8}.${index & 255} }`,
    );
    const heard = hear([...lines, '# new generation 2 by process 7 (nft)']);
    expect(heard.commits.map(nativeShapeOf)).toEqual(['inet t: elements 20000']);
    expect(JSON.stringify(heard.commits).length).toBeLessThan(400);
  });
});
