// Real packets as the witness: the guest asks the host's DNS port once a millisecond, and a rule of the user's drops it.
// What arrives was sent while that rule did not hold.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

import { start, type Running } from './world.ts';

export interface PacketStream {
  /** Instants (performance.now) of the packets that got through since. */
  since(atMs: number): number[];
  close(): Promise<void>;
}

/** A packet about every ms; timers of Node run no faster. */
const SENDER = `
  const socket = require('node:dgram').createSocket('udp4');
  setInterval(() => socket.send('?', 53, '192.168.122.1'), 1);
  process.stdin.on('end', () => process.exit()).resume();
`;

export async function openPackets(): Promise<PacketStream> {
  const arrivals: number[] = [];
  const socket: Socket = createSocket('udp4');
  socket.on('message', () => arrivals.push(performance.now()));
  socket.bind(53, '192.168.122.1');
  await once(socket, 'listening');
  const sender: Running = start('ip', ['netns', 'exec', 'guest', process.execPath, '-e', SENDER]);
  return {
    since: (atMs) => arrivals.filter((arrival) => arrival >= atMs),
    close: async () => {
      await sender.stop();
      socket.close();
    },
  };
}
