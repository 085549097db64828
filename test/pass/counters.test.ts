import { describe, expect, it } from 'vitest';

import { classify } from '../../src/classify/classify.ts';
import { countersOf, restarted } from '../../src/pass/counters.ts';
import { parseDocument } from '../../src/ruleset/iptables/parse.ts';

const table = (name: string, rules: string): string => `*${name}\n:INPUT ACCEPT [0:0]\n${rules}COMMIT\n`;
const seen = (text: string) => classify(parseDocument(text, 'ip', 'test').ruleset, undefined, undefined);

const BEFORE = seen(
  table('filter', '[12:840] -A INPUT -i lo -j ACCEPT\n[0:0] -A INPUT -p icmp -j ACCEPT\n') + table('mangle', ''),
);

describe('a table whose counters all start again', () => {
  it('was built anew when every rule that had counted has counted less since', () => {
    const now = seen(table('filter', '[3:90] -A INPUT -i lo -j ACCEPT\n[7:70] -A INPUT -p icmp -j ACCEPT\n'));
    expect(restarted(countersOf(BEFORE), now, 'filter')).toBe(true);
  });

  it('was not when one rule has counted on', () => {
    const now = seen(table('filter', '[13:900] -A INPUT -i lo -j ACCEPT\n[0:0] -A INPUT -s 192.0.2.1/32 -j DROP\n'));
    expect(restarted(countersOf(BEFORE), now, 'filter')).toBe(false);
  });

  it('cannot be told when no rule that had counted is left, or nothing was seen before', () => {
    const now = seen(table('filter', '[0:0] -A INPUT -p icmp -j ACCEPT\n'));
    expect(restarted(countersOf(BEFORE), now, 'filter')).toBe(false);
    expect(restarted(undefined, now, 'filter')).toBe(false);
  });

  it('takes tables without user rules along', () => {
    const now = seen(table('filter', '[3:90] -A INPUT -i lo -j ACCEPT\n') + table('mangle', ''));
    expect(restarted(countersOf(BEFORE), now, 'mangle')).toBe(true);
  });
});
