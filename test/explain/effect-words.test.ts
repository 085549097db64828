import { describe, expect, it } from 'vitest';
import { effect } from '../../src/explain/symbolic/effect.ts';
import { summaryOf } from '../../src/explain/symbolic/summary.ts';
import { iptables } from './sketch.ts';

const SSH = '-A FORWARD -d 192.168.122.10/32 -p tcp -m tcp --dport 22 -j ACCEPT';
const LIBVIRT = [
  '-A FWI -d 192.168.122.0/24 -o virbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT',
  '-A FWI -o virbr0 -j REJECT',
];

const said = (before: readonly string[], after: readonly string[], policies = {}) =>
  summaryOf(effect(iptables(before), iptables(after, { policies }), ['ip']), [], []);

describe('an effect in words', () => {
  it('names the packets, both verdicts and both rules of a displaced port forward', () => {
    const [found, ...more] = said([SSH, '-A FORWARD -j FWI', ...LIBVIRT], ['-A FORWARD -j FWI', SSH, ...LIBVIRT]);
    expect(more).toEqual([]);
    expect(found?.packets[0]).toMatch(/^tcp 22 to 192\.168\.122\.10 out virbr0/);
    expect(found?.before).toMatchObject({ verdict: 'accept', decidedBy: { chain: 'FORWARD', number: 1 } });
    expect(found?.after).toMatchObject({ verdict: 'reject', decidedBy: { chain: 'FWI', number: 2 } });
    expect(found).toMatchObject({ dependsOn: [], exceptEarlier: false, sure: true });
  });

  it('says nothing of a rule that an earlier one hides', () => {
    const broad = '-A FORWARD -d 192.168.122.0/24 -j ACCEPT';
    expect(said([broad, SSH, '-A FORWARD -j DROP'], [broad, '-A FORWARD -j DROP'])).toEqual([]);
  });

  it('says what a rate leaves open, and never guesses it', () => {
    const limited = '-A INPUT -p udp -m limit --limit 1/second -j ACCEPT';
    const [found] = said([limited, '-A INPUT -j DROP'], ['-A INPUT -j DROP']);
    expect(found?.packets[0]).toMatch(/^udp to anywhere/);
    expect(found?.dependsOn).toEqual(['-m limit --limit 1/second']);
  });

  it('finds a policy that was turned, without the packets that a rule before decides', () => {
    const [found] = said(['-A INPUT -i lo -j ACCEPT'], ['-A INPUT -i lo -j ACCEPT'], { INPUT: 'DROP' });
    expect(found?.packets[0]).toContain('in not lo');
    expect(found).toMatchObject({
      exceptEarlier: false,
      after: { verdict: 'drop', decidedBy: { text: '-P INPUT DROP' } },
    });
  });

  it('says that a translation is gone', () => {
    const dnat = ['-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.168.122.10'];
    const found = summaryOf(effect(iptables(dnat, { table: 'nat' }), iptables([], { table: 'nat' }), ['ip']), [], []);
    expect(found.map(({ before }) => before.translated)).toContainEqual(['dnat to 192.168.122.10']);
  });
});
