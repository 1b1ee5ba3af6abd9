package cli

import (
	"context"
	"encoding/json"
	"os"
	"time"

	"hangbench/bench/dom0"
	"hangbench/bench/event"
)

func benchEvent(ctx context.Context, env *Env, args []string) error {
	f := flags(env, "bench event", "", "x")
	mech := f.String("mechanism", "exec-step", "")
	domain := f.String("domain", "guest", "")
	guests := f.String("guests", "/guest", "")
	if err := parse(f, args, 0, 0); err != nil {
		return err
	}
	con, _ := os.OpenFile("/dev/console", os.O_WRONLY, 0)
	say := func(s string) { con.WriteString(time.Now().Format("05.000 ") + s + "\n") }
	say("start")
	defer say("end")
	h := &dom0.Host{Kind: "lab", Guests: *guests, Work: os.TempDir(), Progress: func(string) {}}
	if err := h.Open(); err != nil {
		return err
	}
	defer h.Close()
	g, err := h.FindGuest(ctx, *domain)
	if err != nil {
		return err
	}
	say("found")
	p, err := dom0.NewPrice(g, dom0.Yardstick)
	if err != nil {
		return err
	}
	if err := p.SetBusy(ctx, true); err != nil {
		return err
	}
	say("busy")
	e := json.NewEncoder(env.Stdout)
	e.SetIndent("", " ")
	for _, ours := range []bool{true, false} {
		all, lost, err := p.Timed(ctx, *mech, ours, time.Second)
		if err != nil {
			return err
		}
		say("timed")
		b := event.Split(all)
		s := map[string]float64{}
		for _, q := range b.Parts {
			s["hyp"] += float64(q.Hypervisor) / float64(len(b.Parts))
			s["wake"] += float64(q.Wakeup) / float64(len(b.Parts))
			s["mon"] += float64(q.Monitor) / float64(len(b.Parts))
			s["kern"] += float64(q.Kernel) / float64(len(b.Parts))
		}
		b.Parts = nil
		e.Encode(map[string]any{"ours": ours, "instants": len(all), "lost": lost, "mean": s, "b": b})
	}
	return nil
}
