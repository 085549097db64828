// sd_notify(3) through the systemd-notify program: Node has no unix datagram sockets. Once at start and stop, and half as
// often as the watchdog wants it. Without NOTIFY_SOCKET it does nothing.

import type { Host } from '../host/host.ts';

export interface Notifier {
  ready(): Promise<void>;
  stopping(): Promise<void>;
}

export function openNotifier(host: Host, env: NodeJS.ProcessEnv = process.env): Notifier {
  const socket = env['NOTIFY_SOCKET'];
  const watchdogMs = Number(env['WATCHDOG_USEC'] ?? '0') / 1000;
  async function notify(...args: string[]): Promise<void> {
    if (socket === undefined) return;
    const result = await host.exec({ file: 'systemd-notify', args, env: { NOTIFY_SOCKET: socket } });
    if (result.exitCode !== 0) host.log.write('warning', `systemd-notify failed: ${result.stderr.trim()}`);
  }
  function tick(): void {
    host.clock.after(watchdogMs / 2, () => {
      void notify('WATCHDOG=1').then(tick);
    });
  }
  return {
    async ready() {
      await notify('--ready', '--status=guarding');
      if (watchdogMs > 0) tick();
    },
    stopping: () => notify('--stopping', '--status=stopping; all rules stay'),
  };
}
