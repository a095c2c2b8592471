// The list of transports with their settings; they are enabled and disabled here.
import { useState } from "preact/hooks";
import type { Transport, Transports as TransportList } from "../../shared/operators/transports.ts";
import { callAdmin, getMonitor } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { pretty } from "./format.ts";
import { useLive } from "./live.ts";
import { ActionButton, Loaded } from "./parts.tsx";
import { toast } from "./toast.tsx";

export function Transports() {
  const live = useLive("transports", () => getMonitor<TransportList>("transports"));
  const [disabling, setDisabling] = useState<Transport>();
  const toggle = async ({ name, enabled }: Transport) => {
    await callAdmin("PUT", `transports/${encodeURIComponent(name)}`, { enabled: !enabled });
    toast(enabled ? `${name} is disabled` : `${name} is enabled`);
    setDisabling(undefined);
    await live.refresh();
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
                      {transport.enabled
                        ? (
                          <button
                            type="button"
                            onClick={() => setDisabling(transport)}
                            aria-label={`Disable ${transport.name}`}
                          >
                            Disable
                          </button>
                        )
                        : (
                          <ActionButton
                            label="Enable"
                            action={() => toggle(transport)}
                            title={`Enable ${transport.name}`}
                          />
                        )}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
      {disabling && (
        <Dialog title={`Disable ${disabling.name}?`} close={() => setDisabling(undefined)}>
          <p>Messages dispatched to it are rejected until it is enabled again. Its stored messages wait.</p>
          <div class="buttons">
            <ActionButton label="Disable" kind="danger" action={() => toggle(disabling)} />
            <button type="button" onClick={() => setDisabling(undefined)}>Cancel</button>
          </div>
        </Dialog>
      )}
    </>
  );
}
