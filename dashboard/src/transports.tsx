// Transports: which there are, and whether they may.
import { act, look, type Transport } from "./api.ts";
import { pretty } from "./format.ts";
import { useLive } from "./live.ts";
import { Do, Loaded } from "./parts.tsx";
import { toast } from "./toast.tsx";

export function Transports() {
  const live = useLive("transports", () => look<{ transports: Transport[] }>("transports"));
  const toggle = async ({ name, enabled }: Transport) => {
    await act("PUT", `transports/${encodeURIComponent(name)}`, { enabled: !enabled });
    toast(enabled ? `${name} is disabled: its messages wait` : `${name} is enabled`);
    await live.again();
  };
  return (
    <>
      <header class="heading">
        <h1>Transports</h1>
      </header>
      <Loaded live={live}>
        {({ transports }) => (
          <div class="scroll">
            <table class="cards">
              <thead>
                <tr>
                  <th>Name</th>
                  <th>Type</th>
                  <th>State</th>
                  <th>Settings</th>
                  <th>
                    <span class="hidden">Actions</span>
                  </th>
                </tr>
              </thead>
              <tbody>
                {transports.map((transport) => (
                  <tr key={transport.name}>
                    <td>
                      <strong>{transport.name}</strong>
                    </td>
                    <td>{transport.type}</td>
                    <td>
                      <span class={`state ${transport.enabled ? "completed" : "paused"}`}>
                        {transport.enabled ? "enabled" : "disabled"}
                      </span>
                    </td>
                    <td class="mono">{pretty(transport.config)}</td>
                    <td class="actions">
                      <Do
                        label={transport.enabled ? "Disable" : "Enable"}
                        act={() => toggle(transport)}
                        title={`${transport.enabled ? "Disable" : "Enable"} ${transport.name}`}
                      />
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
    </>
  );
}
