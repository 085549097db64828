// The daemon and its state folder, when somebody removes the folder while it runs.

import { expect, it } from 'vitest';
import { openRoom } from './guard/machine-room.ts';

const USER = `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT
COMMIT
`;

it('a removed state folder is written again at the next full pass, and said once', async () => {
  const room = await openRoom({ user: USER });
  await room.start();
  await room.idle(2_000);
  const { files, kernel, logged } = room.machine;
  kernel.foreign(['iptables', '-A', 'INPUT', '-s', '10.9.9.9/32', '-j', 'DROP'], '');
  await room.idle(2_000);
  const { snapshotId, wish } = room.context().memory;
  await files.remove('/var/lib/mendwall');
  await room.idle(700_000); // The backstop comes after 10 min at the latest.
  const again = await room.context().files.load();
  expect(again.notes).toEqual([]);
  expect([again.memory.snapshotId, again.memory.wish]).toEqual([snapshotId, wish]);
  expect(logged.filter(({ message }) => message.includes('was removed while mendwall runs'))).toHaveLength(1);
});
