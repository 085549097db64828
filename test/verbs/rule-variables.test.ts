// What templates know of the host, and what is said of what they cannot know.

import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { HostError } from '../../src/host/host.ts';
import { parseNetworkXml } from '../../src/observe/network-xml.ts';
import type { Network } from '../../src/ruleset/network.ts';
import { LEASES_FOLDER, readVariables } from '../../src/verbs/rule-variables.ts';
import { createFakeFiles } from '../fake/files.ts';

const NO_VARS = { values: {}, files: [] };

async function nat(): Promise<Network> {
  const xml = readFileSync(new URL('../captures/libvirt-nft/nat.run-status.xml', import.meta.url), 'utf8');
  const parsed = await parseNetworkXml(xml, 'nat');
  if ('problem' in parsed) throw new Error(parsed.problem.message);
  return { ...parsed.network, active: true };
}

it('says which leases it may not read, and takes a half-written file for none', async () => {
  const network = await nat();
  const files = createFakeFiles();
  files.texts.set(`${LEASES_FOLDER}/${network.bridge}.macs`, '[{"domain": "web1", "ma');
  const closed: typeof files = {
    ...files,
    read: (path) =>
      path.endsWith('.status')
        ? Promise.reject(new HostError('read-failed', `${path}: permission denied`))
        : files.read(path),
  };
  const { warnings } = await readVariables({ files: closed }, NO_VARS, [network], 0);
  expect(warnings).toMatchObject(
    [{ code: 'left-out-fact', file: `${LEASES_FOLDER}/${network.bridge}.status`, message: /permission denied/ }].map(
      ({ message, ...rest }) => ({ ...rest, message: expect.stringMatching(message) }),
    ),
  );
  expect((await readVariables({ files }, NO_VARS, [network], 0)).warnings).toEqual([]);
});
