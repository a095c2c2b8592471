// Transports: which there are, and whether they may.
import { useState } from "preact/hooks";
import { act, look, type Transport } from "./api.ts";
import { Dialog } from "./dialog.tsx";
import { pretty } from "./format.ts";
import { useLive } from "./live.ts";
import { Do, Loaded } from "./parts.tsx";
import { toast } from "./toast.tsx";

export function Transports() {
  const live = useLive("transports", () => look<{ transports: Transport[] }>("transports"));
  const [disabling, disable] = useState<Transport>();
  const toggle = async ({ name, enabled }: Transport) => {
    await act("PUT", `transports/${encodeURIComponent(name)}`, { enabled: !enabled });
    toast(enabled ? `${name} is disabled` : `${name} is enabled`);
    disable(undefined);
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
                      {transport.enabled
                        ? (
                          <button
                            type="button"
                            onClick={() => disable(transport)}
                            aria-label={`Disable ${transport.name}`}
                          >
                            Disable
                          </button>
                        )
                        : <Do label="Enable" act={() => toggle(transport)} title={`Enable ${transport.name}`} />}
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
      </Loaded>
      {disabling && (
        <Dialog title={`Disable ${disabling.name}?`} close={() => disable(undefined)}>
          <p>Whatever is dispatched to it is rejected until it is enabled again. The messages in it wait.</p>
          <div class="buttons">
            <Do label="Disable" kind="danger" act={() => toggle(disabling)} />
            <button type="button" onClick={() => disable(undefined)}>Leave it</button>
          </div>
        </Dialog>
      )}
    </>
  );
}
