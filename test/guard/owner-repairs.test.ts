// `[repair]` in the daemon: fail2ban is asked when somebody else flushed its rules, and what came of it is said.

import { describe, expect, it } from 'vitest';
import type { Repairs } from '../../src/merge/owner-actions.ts';
import { openRoom, type Room } from './machine-room.ts';

const USER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
-A INPUT -i lo -j ACCEPT
COMMIT
`;
const JUMP = '-A INPUT -p tcp -m multiport --dports 22 -j f2b-sshd';
const BY = {
  parents: [{ pid: 60, comm: 'fail2ban-server', cmdline: ['/usr/bin/python3', '/usr/bin/fail2ban-server'] }],
};
const SHELL = { parents: [{ pid: 61, comm: 'bash', cmdline: ['-bash'] }] };

function ban({ machine }: Room): void {
  const chain = ':f2b-sshd - [0:0]\n-A f2b-sshd -s 192.0.2.9/32 -j REJECT --reject-with icmp-port-unreachable\n';
  machine.kernel.foreign(
    ['iptables-restore', '-n'],
    `*filter\n${chain}${JUMP.replace('-A INPUT', '-I INPUT 1')}\nCOMMIT\n`,
    BY,
  );
}

/** A host with a ban; `answers`: fail2ban does what it is asked. Gives the commands that it was asked with. */
async function banned(repairs: Repairs, answers: boolean): Promise<{ room: Room; asked: string[] }> {
  const room = await openRoom({ user: USER, change: { repairs } });
  const asked: string[] = [];
  room.machine.beforeExec(({ file, args }) => {
    if (file !== 'fail2ban-client') return;
    asked.push([file, ...args].join(' '));
    if (answers) ban(room);
  });
  await room.start();
  await room.idle(1000);
  ban(room);
  await room.idle(3000);
  return { room, asked };
}

const flush = ({ machine }: Room): void => void machine.kernel.foreign(['iptables', '-F', 'INPUT'], '', SHELL);
const stands = ({ machine }: Room): boolean => machine.kernel.save('ip').includes(JUMP);
const said = ({ machine }: Room, what: string): number =>
  machine.logged.filter(({ message }) => message.includes(what)).length;

describe('a neighbour whose rules somebody flushed', () => {
  it('is only told of without [repair]', async () => {
    const { room, asked } = await banned({}, true);
    flush(room);
    await room.idle(60_000);
    expect([asked, stands(room)]).toEqual([[], false]);
  });

  it('is asked once after a grace, and it is said that its rules stand again', async () => {
    const { room, asked } = await banned({ fail2ban: 'ask' }, true);
    flush(room);
    await room.idle(4000);
    expect(asked).toEqual([]);
    await room.idle(30_000);
    expect([asked, stands(room)]).toEqual([['fail2ban-client reload --restart'], true]);
    expect(said(room, "fail2ban's rules stand again")).toBe(1);
  });

  it('that comes back by itself meanwhile is not asked', async () => {
    const { room, asked } = await banned({ fail2ban: 'ask' }, true);
    flush(room);
    await room.idle(2000);
    ban(room);
    await room.idle(30_000);
    expect(asked).toEqual([]);
  });

  it('is asked three times in an hour and no more, and that is said once', async () => {
    const { room, asked } = await banned({ fail2ban: 'ask' }, false);
    flush(room);
    await room.idle(120_000);
    expect(asked).toHaveLength(3);
    expect(said(room, 'still missing after 3 tries')).toBe(1);
  });
});
