package processortest

import (
	"slices"

	"github.com/penstock/penstock/processor"
	"github.com/penstock/penstock/processor/internal/task"
	"github.com/penstock/penstock/processor/internal/topology"
	"github.com/penstock/penstock/statestore"
)

// kept is what is left of inputs and states that the present form of the application does not have.
type kept struct {
	records map[string][]topology.Record
	offsets map[string]int64
	logs    map[string][]task.Effect
}

// Restart is Crash, and then another form of the application starts in its place: its states and inputs go on by their
// names, an added state begins empty. A state that comes back while its changelog holds records ends the test, as it ends
// engine.Run.
func (d *Driver) Restart(app *processor.App) {
	d.t.Helper()
	topo, err := app.Topology()
	if err != nil {
		d.t.Fatal(err)
	}
	if topo.ID != d.topo.ID {
		d.t.Fatalf("application %q cannot go on as %q", d.topo.ID, topo.ID)
	}
	d.store.Crash()
	d.setAside()
	was := d.topo.States
	d.topo = topo
	d.topo.Bind = topo.BindStrict
	d.known.States = topo.States
	d.rows.topics = topo.Tables
	d.inputs, d.offsets, d.changelogs = nil, nil, nil
	for _, name := range topo.Inputs {
		d.inputs = append(d.inputs, d.kept.records[name])
		d.offsets = append(d.offsets, d.kept.offsets[name])
	}
	for i, name := range topo.States {
		if len(d.kept.logs[name]) > 0 && !slices.Contains(was, name) {
			d.t.Fatalf("state %q is new to the application, but its changelog %s holds records of an earlier time", name, topo.ChangelogTopic(i))
		}
		d.changelogs = append(d.changelogs, d.kept.logs[name])
	}
	d.openStages()
	d.carry()
	d.restart()
}

// setAside keeps inputs and states by their names.
func (d *Driver) setAside() {
	if d.kept.logs == nil {
		d.kept = kept{map[string][]topology.Record{}, map[string]int64{}, map[string][]task.Effect{}}
	}
	for i, name := range d.topo.Inputs {
		d.kept.records[name], d.kept.offsets[name] = d.inputs[i], d.offsets[i]
	}
	for i, name := range d.topo.States {
		d.kept.logs[name] = d.changelogs[i]
	}
}

// carry makes the local store that of the present form: what of it is not the present form's is deleted.
func (d *Driver) carry() {
	at, ok, err := task.ReadPosition(d.store, 0)
	if err != nil {
		d.t.Fatal(err)
	}
	if !ok {
		return
	}
	next := task.Position{Identity: d.known, Time: at.Time, Changelogs: make([]int64, len(d.topo.States))}
	var b statestore.Batch
	for i, name := range at.Identity.States {
		if now := slices.Index(d.topo.States, name); now >= 0 {
			next.Changelogs[now] = at.Changelogs[i]
		} else {
			b.DeleteRange(task.StateRange(0, name))
		}
	}
	task.WritePosition(&b, 0, next)
	if err := d.store.Apply(&b); err != nil {
		d.t.Fatal(err)
	}
}
