// What the commits of a burst say about each table; shapes as measured with nft monitor on iptables-nft 1.8.9.

import { describe, expect, it } from 'vitest';
import { addCommit, type Burst, openBurst } from '../../src/machine/burst.ts';
import { type Act, commit, LIBVIRTD } from '../commits.ts';

const burstOf = (...acts: Act[]): Burst =>
  acts.reduce((burst, act, index) => addCommit(burst, commit(act), index), openBurst(0));
const says = (...acts: Act[]): unknown => burstOf(...acts).tables.get('ip filter');

describe('the summary of a burst', () => {
  it.each<[string, Act[], object]>([
    [
      'a full iptables-restore is a load',
      [{ run: 'iptables-restore', deletesTable: true, addsTable: true, deleted: 4, added: 4 }],
      { replaced: true, wiped: false },
    ],
    [
      'of an empty table, too: what it brought is read',
      [{ run: 'iptables-restore', deletesTable: true, addsTable: true, deleted: 4 }],
      { replaced: true },
    ],
    [
      'without an add table it is a wipe',
      [{ run: 'iptables-restore', deletesTable: true, deleted: 4 }],
      { replaced: false, wiped: true },
    ],
    [
      'iptables -F is a wipe',
      [{ run: 'iptables -F', deleted: 3, chains: ['INPUT', 'FORWARD'] }],
      { wiped: true, addedAfterWipe: false, byOther: true },
    ],
    [
      'iptables -F of a single rule is, by its command line',
      [{ run: 'iptables -F FORWARD', deleted: 1 }],
      { wiped: true },
    ],
    ['a single -D is not', [{ run: 'iptables -D FORWARD 1', deleted: 1 }], { wiped: false, byOther: true }],
    ['an unreadable single deletion is not', [{ deleted: 1 }], { wiped: false, byOther: false }],
    ['an unreadable deletion of two is', [{ deleted: 2 }], { wiped: true }],
    [
      'base chains that are deleted are (-X without a name)',
      [{ chainsDeleted: ['INPUT', 'FORWARD', 'OUTPUT'] }],
      { wiped: true },
    ],
    [
      'a chain of somebody’s own that is deleted is not',
      [{ run: 'iptables -X web', chainsDeleted: ['web'] }],
      { wiped: false },
    ],
    ['-R is not', [{ run: 'iptables -R FORWARD 1 -j DROP', deleted: 1, added: 1 }], { wiped: false }],
    [
      'several rules replaced by --noflush are not',
      [{ run: 'iptables-restore -n', deleted: 3, added: 3 }],
      { wiped: false },
    ],
    [
      '-P is not',
      [{ run: 'iptables -P FORWARD DROP', chainsAdded: ['FORWARD'], chains: [] }],
      { wiped: false, byOther: false },
    ],
    [
      'a script: a wipe, then additions',
      [
        { run: 'iptables -F', deleted: 3 },
        { run: 'iptables -A INPUT -j ACCEPT', added: 1 },
      ],
      { wiped: true, addedAfterWipe: true },
    ],
    [
      'additions, then a wipe, are no script',
      [
        { run: 'iptables -A INPUT -j ACCEPT', added: 1 },
        { run: 'iptables -F', deleted: 3 },
      ],
      { wiped: true, addedAfterWipe: false },
    ],
    [
      'nft delete table',
      [{ run: 'nft delete table ip filter', deletesTable: true, deleted: 3 }],
      { wiped: true, replaced: false },
    ],
  ])('%s', (_, acts, expected) => {
    expect(says(...acts)).toMatchObject(expected);
  });

  it('names the loader that wrote it', () => {
    expect(
      says({ run: 'iptables-restore', unit: 'iptables.service', deletesTable: true, addsTable: true }),
    ).toMatchObject({ loader: 'iptables.service' });
    expect(says({ run: 'iptables-restore /tmp/x', deletesTable: true, addsTable: true })).toMatchObject({
      loader: undefined,
    });
  });

  it('names the neighbour by its process, only where rules were lost', () => {
    expect(says({ run: 'iptables -D FORWARD 1', parents: ['neutron-linuxbridge-agent'], deleted: 1 })).toMatchObject({
      byNeighbour: 'openstack-neutron',
      byOther: false,
    });
    expect(says({ run: 'iptables -I FORWARD -j X', parents: ['dockerd'], added: 1 })).toMatchObject({
      neighbour: 'docker',
      byNeighbour: undefined,
    });
  });

  it('infers libvirt where only its chains changed, and sees it where its process was read', () => {
    const rewrite: Act = { chains: ['LIBVIRT_FWI'], deleted: 1 };
    expect(burstOf(rewrite)).toMatchObject({ libvirt: 'inferred', wiped: false, authors: [] });
    expect(says(rewrite)).toMatchObject({ neighbour: 'libvirt', byNeighbour: undefined, wiped: false });
    expect(burstOf({ ...rewrite, parents: [LIBVIRTD] })).toMatchObject({ libvirt: 'seen' });
  });

  it('names the neighbour whose chains changed, and takes only libvirt’s for libvirt', () => {
    const ban: Act = { chains: ['f2b-sshd'], added: 1 };
    expect(says(ban)).toMatchObject({
      neighbour: 'fail2ban',
      byNeighbour: undefined,
      wiped: false,
      writers: ['fail2ban'],
    });
    expect(burstOf(ban)).toMatchObject({ libvirt: undefined, libvirtCommits: 0, libvirtMs: 0, authors: [] });
    expect(burstOf({ ...ban, run: 'iptables -F f2b-sshd', parents: ['bash'] }).authors).toHaveLength(1);
    expect(says(ban, { chains: ['LIBVIRT_FWI'], added: 1 })).toMatchObject({ writers: ['fail2ban', 'libvirt'] });
    // Left to the user by its owner's documentation: who wrote there is not told by the name.
    expect(says({ chains: ['DOCKER-USER'], added: 1 })).toMatchObject({ neighbour: undefined, writers: [] });
    expect(says({ run: 'iptables', parents: ['dockerd'], chains: ['FORWARD'], added: 1 })).toMatchObject({
      writers: ['docker'],
    });
  });

  it('keeps its tables apart, and its authors last first', () => {
    const burst = burstOf(
      { run: 'iptables -F', deleted: 3 },
      { run: 'iptables -t nat -A POSTROUTING', table: 'nat', chains: ['POSTROUTING'], added: 1 },
    );
    expect(burst.tables.get('ip nat')).toMatchObject({ wiped: false, addedAfterWipe: false });
    expect(burst.authors.map((author) => author.cmdline?.join(' '))).toEqual([
      'iptables -t nat -A POSTROUTING',
      'iptables -F',
    ]);
    expect(burst).toMatchObject({ commits: 2, startedMs: 0, wiped: true });
  });
});
