package cli

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"hangbench/bench/dom0cmd"
	"hangbench/bench/exit"
	"hangbench/cgo/libvmi"
	"hangbench/guests/lab"
)

func (a *app) doctorCommand() *cobra.Command {
	c := a.command("doctor", "say what each kind of host has and lacks",
		"Say for each kind of host what is there and what is missing, with the remedy. "+
			"Exit status 3 when neither kind is usable.", 0, 0)
	var lf labFlags
	lf.add(c)
	c.RunE = func(c *cobra.Command, _ []string) error { return lf.doctor(c.Context(), a) }
	return c
}

func (l *labFlags) doctor(ctx context.Context, a *app) error {
	if _, err := l.findMirror(a.Env); err != nil {
		return err
	}
	usable := dom0cmd.PrintFindings(a.out, "host lab (emulated Xen host; the default)", l.examine(ctx, a.Env))
	if usable {
		fmt.Fprintln(a.out, "  usable")
	}
	if dom0cmd.PrintFindings(a.out, dom0cmd.XenHost, dom0cmd.ExamineXen()) {
		fmt.Fprintln(a.out, "  usable")
		usable = true
	}
	dom0cmd.PrintFindings(a.out, "driver libvmi", examineLibVMI(ctx))
	if !usable {
		return exit.MissingError{Err: errors.New("neither the lab nor a real Xen host is usable here")}
	}
	return nil
}

func (l *labFlags) examine(ctx context.Context, env *Env) []dom0cmd.Finding {
	found := []dom0cmd.Finding{
		{What: "machine", OK: runtime.GOOS == "linux" && runtime.GOARCH == "amd64",
			Detail: runtime.GOOS + "/" + runtime.GOARCH,
			Remedy: "the emulator comes as a Linux amd64 program", Needed: true},
		dom0cmd.Program("go", "install Go; the dom0 program is built from source"),
		dom0cmd.Program("apt-get", "install apt (Debian and Ubuntu have it); it fetches and verifies the lab's packages"),
	}
	src, err := l.findSource()
	found = append(found, dom0cmd.Finding{What: "source", OK: err == nil, Detail: src,
		Remedy: "run in a checkout of hangbench, or name it with --source", Needed: true})
	c, err := lab.FindCache(l.cache, env.Getenv)
	if err != nil {
		return append(found, dom0cmd.Finding{What: "cache", Detail: err.Error(),
			Remedy: "name a folder with --cache or " + lab.CacheEnv, Needed: true})
	}
	if err := tryFolder("--cache", string(c)); err != nil {
		return append(found, dom0cmd.Finding{What: "cache", Detail: err.Error(),
			Remedy: "name a folder with --cache or " + lab.CacheEnv, Needed: true})
	}
	found = append(found, dom0cmd.Finding{What: "cache", OK: true,
		Detail: fmt.Sprintf("%s, %d MiB, can be written", c, diskMiB(string(c))), Needed: true})
	// The rest is made when it is needed.
	have := func(what string, pattern ...string) dom0cmd.Finding {
		m, _ := filepath.Glob(filepath.Join(append([]string{string(c)}, pattern...)...))
		x := dom0cmd.Finding{What: what, OK: len(m) > 0, Remedy: "hangbench lab build makes it"}
		if x.OK {
			x.Detail = m[0]
		}
		return x
	}
	return append(found,
		have("packages", "packages", "packages.json"),
		have("emulator", "prefix-*", "usr/bin/bochs-bin"),
		have("lab", "labs", "*", lab.DiscFile),
		have("snapshot", "labs", "*", "snapshots", "[^.]*"),
		examineContents(ctx, c),
		dom0cmd.Finding{What: "altp2m", OK: true, Detail: "the lab's Xen is booted with altp2m=1 hap_1gb=0 hap_2mb=0"})
}

func examineLibVMI(ctx context.Context) []dom0cmd.Finding {
	x := dom0cmd.Finding{What: "LibVMI", Remedy: "only the driver libvmi needs it; the driver xenctrl does without"}
	if v, err := lab.FindLibVMI(ctx); err != nil {
		x.Detail = err.Error()
	} else {
		x.OK, x.Detail = true, v.Version+", "+v.Library()
	}
	built := dom0cmd.Finding{What: "this program", OK: libvmi.Built, Detail: "built with LibVMI",
		Remedy: "in the lab: hangbench lab build --with-libvmi; in a dom0: make build-xen TAGS=xen,libvmi"}
	if !built.OK {
		built.Detail = "built without LibVMI"
	}
	return []dom0cmd.Finding{x, built}
}
