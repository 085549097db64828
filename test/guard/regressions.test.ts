// Each bug that the interleavings found, as a case of its own: what happened between which two system calls, and what must stand.

import { describe, expect, it } from 'vitest';
import type { BridgeNetwork } from '../generate/libvirt-rules.ts';
import { openRoom, type Room, runAll } from './machine-room.ts';
import { libvirtRulesIn, libvirtRulesOf, liveWord } from './user-word.ts';

const DEFAULT: BridgeNetwork = { name: 'default', bridge: 'virbr0', subnet: '192.168.122.0/24' };
const SECOND: BridgeNetwork = { name: 'second', bridge: 'virbr1', subnet: '192.168.123.0/24' };
const USER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -i lo -j ACCEPT
-A FORWARD -s 192.0.2.0/24 -j DROP
-A FORWARD -j REJECT --reject-with icmp-host-prohibited
COMMIT
`;
const SHELL = { parents: [{ pid: 60, comm: 'bash', cmdline: ['-bash'] }] };

/** A guard at rest on a host with libvirt's default network. */
async function guarded(): Promise<Room> {
  const room = await openRoom({
    user: USER,
    defined: [DEFAULT, SECOND],
    before: (libvirt) => [libvirt.netStart(DEFAULT)],
  });
  await room.start();
  await room.idle(1000);
  return room;
}

const admin = ({ machine }: Room, line: string, input = ''): void =>
  void machine.kernel.foreign(line.split(' '), input, SHELL);

/** Once, before the next command of ours whose name begins so. */
function beforeOur(room: Room, name: string, act: () => void): void {
  let armed = true;
  room.machine.beforeExec(({ file }) => {
    if (!armed || !file.startsWith(name)) return;
    armed = false;
    act();
  });
}

const libvirtLives = ({ machine, libvirt }: Room): void =>
  expect(libvirtRulesIn(machine.kernel.save('ip'))).toEqual(libvirtRulesOf(libvirt.active));

describe('the user’s rules', () => {
  it('come back after a flush although libvirt puts its jumps into the flushed chain before the burst is over', async () => {
    const room = await guarded();
    const word = liveWord(room.machine.kernel);
    admin(room, 'iptables -F FORWARD');
    runAll(room.libvirt.reloaded());
    await room.idle(10_000);
    expect(liveWord(room.machine.kernel)).toEqual(word);
    libvirtLives(room);
  });

  it('stay as a person changes them while a pass that judges a burst of libvirt’s is about to read', async () => {
    const room = await guarded();
    runAll(room.libvirt.netStart(SECOND));
    beforeOur(room, 'iptables-save', () => admin(room, 'iptables -R INPUT 3 -p udp -m udp --dport 1194 -j ACCEPT'));
    await room.idle(10_000);
    expect(liveWord(room.machine.kernel)['ip filter INPUT']).toEqual([
      'ACCEPT',
      '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT',
      '-A INPUT -p udp -m udp --dport 1194 -j ACCEPT',
    ]);
  });

  it('stay as they were changed just before the guard was killed, although libvirt writes as soon as it is back', async () => {
    const room = await guarded();
    admin(room, 'iptables -D INPUT -i lo -j ACCEPT');
    room.kill();
    const starting = room.libvirt.netStart(SECOND);
    beforeOur(room, 'iptables-save', () => {
      for (let step = 0; step < 6; step++) starting.next();
      admin(room, 'iptables -A OUTPUT -d 198.51.100.0/24 -j DROP');
    });
    await room.start();
    runAll(starting);
    await room.idle(10_000);
    const { 'ip filter INPUT': input, 'ip filter OUTPUT': output } = liveWord(room.machine.kernel);
    expect(input).toEqual(['ACCEPT', '-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT']);
    expect(output).toEqual(['ACCEPT', '-A OUTPUT -d 198.51.100.0/24 -j DROP']);
  });

  it('come back after nft flush ruleset at once: making the lock chain does not count as somebody else’s write', async () => {
    const room = await guarded();
    const word = liveWord(room.machine.kernel);
    admin(room, 'nft flush ruleset');
    await room.idle(300);
    expect(liveWord(room.machine.kernel)).toEqual(word);
    libvirtLives(room);
  });
});

describe('libvirt’s rules', () => {
  it('stand once each after a dump was loaded between its deletions and its insertions', async () => {
    const room = await guarded();
    const dump = room.machine.kernel.save('ip');
    const rewriting = room.libvirt.sighup();
    for (let step = 0; step < 22; step++) rewriting.next();
    admin(room, 'iptables-restore', dump);
    runAll(rewriting);
    await room.idle(10_000);
    libvirtLives(room);
  });

  it('keep one jump each when libvirt looked for them before they were put back, and inserted them after', async () => {
    const room = await guarded();
    admin(room, 'iptables -F FORWARD');
    const restarting = room.libvirt.reloaded();
    for (let step = 0; step < 3; step++) restarting.next(); // the listings of IPv4
    await room.idle(200);
    runAll(restarting);
    await room.idle(10_000);
    libvirtLives(room);
  });

  it('keep their chains and jumps after a load that no guard saw, also while no network is up', async () => {
    const room = await guarded();
    runAll(room.libvirt.netDestroy(DEFAULT));
    await room.idle(2000);
    room.kill();
    admin(room, 'iptables-restore', USER);
    await room.start();
    await room.idle(10_000);
    libvirtLives(room);
    runAll(room.libvirt.netStart(DEFAULT));
    expect(room.libvirt.active).toEqual([DEFAULT]);
  });
});
