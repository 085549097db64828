// What nftables.service runs, with the file that Debian ships: it begins with `flush ruleset`.

import type { LabNeighbour } from './types.ts';

/** `ExecReload=/usr/sbin/nft -f /etc/nftables.conf` */
const command = (key: string): string => `sh -ec "$(sed -n 's/^${key}=//p' /usr/lib/systemd/system/nftables.service)"`;

export const nftablesService: LabNeighbour = {
  name: 'nftables.service',
  owner: undefined,
  packages: ['nftables'],
  program: '/usr/lib/systemd/system/nftables.service',
  steps: {
    start: command('ExecStart'),
    reload: command('ExecReload'),
    stop: command('ExecStop'),
  },
  note: 'flushes the ruleset of everybody; its empty table `inet filter` is a table of yours then',
};
