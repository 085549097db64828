// `[[order]]` in the daemon: restored after each rewrite of the neighbour's, and given up within the budget.

import { afterEach, describe, expect, it } from 'vitest';
import { useConfiguredOrder } from '../../src/owners/index.ts';
import { openRoom, type Room } from './machine-room.ts';

const USER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -s 192.0.2.7/32 -j ACCEPT
-A INPUT -i lo -j ACCEPT
COMMIT
`;
const BY = {
  parents: [{ pid: 60, comm: 'fail2ban-server', cmdline: ['/usr/bin/python3', '/usr/bin/fail2ban-server'] }],
};

/** The jump goes to the top, as `fail2ban-client restart` has it. */
function toTop({ machine }: Room): void {
  const old = machine.kernel.save('ip').includes('-j f2b-sshd');
  const first = old ? '-D INPUT -p tcp -j f2b-sshd\n' : ':f2b-sshd - [0:0]\n-A f2b-sshd -j RETURN\n';
  machine.kernel.foreign(['iptables-restore', '-n'], `*filter\n${first}-I INPUT 1 -p tcp -j f2b-sshd\nCOMMIT\n`, BY);
}

const inputOf = ({ machine }: Room): string[] => machine.kernel.save('ip').match(/^-A INPUT .*$/gm) ?? [];
const WANTED = ['-A INPUT -s 192.0.2.7/32 -j ACCEPT', '-A INPUT -i lo -j ACCEPT', '-A INPUT -p tcp -j f2b-sshd'];

describe('an order relative to a neighbour', () => {
  afterEach(() => useConfiguredOrder([]));

  it('comes back once for each rewrite, until the budget ends the tug-of-war', async () => {
    const room = await openRoom({ user: USER, change: { order: [{ chain: 'INPUT', above: 'fail2ban' }] } });
    await room.start();
    await room.idle(1000);
    toTop(room);
    await room.idle(3000);
    expect(inputOf(room)).toEqual(WANTED);
    for (let times = 0; times < 6; times++) {
      toTop(room);
      await room.idle(3000);
    }
    expect(inputOf(room)[0]).toBe('-A INPUT -p tcp -j f2b-sshd');
    expect(room.guard()?.status().contended).toEqual(['ip filter INPUT']);
    expect(room.machine.logged.some(({ message }) => message.includes('fail2ban'))).toBe(true);
  });
});
