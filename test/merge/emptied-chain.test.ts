import { describe, expect, it } from 'vitest';

import { classify, userPartOf } from '../../src/classify/classify.ts';
import { type Decision, decideTable } from '../../src/merge/decide.ts';
import { parseRuleset } from '../../src/ruleset/iptables/parse.ts';
import { ruleTexts } from '../../src/ruleset/user-part.ts';

const table = (input: readonly string[], forward: readonly string[]): string =>
  ['*filter', ':INPUT ACCEPT [0:0]', ':FORWARD ACCEPT [0:0]', ...input, ...forward, 'COMMIT', ''].join('\n');

const INPUT = ['-A INPUT -i lo -j ACCEPT', '-A INPUT -p icmp -j ACCEPT', '-A INPUT -j REJECT'];
const FORWARD = ['-A FORWARD -s 10.0.0.1/32 -j ACCEPT', '-A FORWARD -j REJECT'];

function decideWithoutEvents(live: string): Decision {
  const before = userPartOf(classify(parseRuleset(table(INPUT, FORWARD), 'ip'), undefined));
  return decideTable({
    table: 'filter',
    wish: before.tables.get('filter'),
    live: classify(parseRuleset(live, 'ip'), undefined).tables.get('filter'),
    summary: undefined,
    evidence: { wholeTableNew: true, bootFile: undefined },
    burstOver: true,
    onDelete: 'pending',
    onLoad: 'adopt',
    isGuestBridge: () => false,
  });
}

describe('without events, the neighbours gone with it', () => {
  it('a built-in chain that is empty while the others stand as they were is a wipe, never adopted', () => {
    const decision = decideWithoutEvents(table(INPUT, []));
    expect(decision.kind).toBe('wipe');
    expect(ruleTexts(decision.next.chains.get('FORWARD')?.items ?? [])).toEqual(FORWARD);
  });

  it('a policy alone is pending, and does not make a load of an emptied chain beside it', () => {
    const closed = (text: string): string => text.replace(':INPUT ACCEPT', ':INPUT DROP');
    expect(decideWithoutEvents(closed(table(INPUT, FORWARD))).kind).toBe('pending');
    const decision = decideWithoutEvents(closed(table(INPUT, [])));
    expect(decision.kind).toBe('wipe');
    expect(decision.evidence).toEqual(['INPUT=pending', 'FORWARD=wipe']);
    expect(decision.next.chains.get('INPUT')?.policy).toBe('DROP');
  });

  it('a ruleset that changed elsewhere, too, is a load', () => {
    expect(decideWithoutEvents(table([...INPUT, '-A INPUT -p tcp -j DROP'], [])).kind).toBe('load');
  });
});
