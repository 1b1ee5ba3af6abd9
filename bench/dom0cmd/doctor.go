package dom0cmd

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"hangbench/bench/dom0"
	"hangbench/cgo/xenctrl"
)

// Finding is one thing that a host has or lacks.
type Finding struct {
	What   string
	OK     bool
	Detail string // what was found
	Remedy string // what to do if it is not there
	Needed bool   // the host is not usable without it
}

// PrintFindings prints the findings about one host and reports whether everything
// that is needed is there.
func PrintFindings(w io.Writer, host string, all []Finding) bool {
	fmt.Fprintln(w, host)
	usable := true
	for _, x := range all {
		mark := "ok     "
		if !x.OK {
			mark = "missing"
			if !x.Needed {
				mark = "absent "
			}
		}
		fmt.Fprintf(w, "  %s %-14s %s\n", mark, x.What, x.Detail)
		if !x.OK && x.Remedy != "" {
			fmt.Fprintf(w, "          %-14s %s\n", "", x.Remedy)
		}
		usable = usable && (x.OK || !x.Needed)
	}
	return usable
}

// Program looks for a program that is needed in the search path.
func Program(name, remedy string) Finding {
	path, err := exec.LookPath(name)
	return Finding{What: name, OK: err == nil, Detail: path, Remedy: remedy, Needed: true}
}

// XenHost is the title of the findings of ExamineXen.
const XenHost = "host xen (this machine as dom0)"

// ExamineXen examines this machine as a Xen control domain.
func ExamineXen() []Finding {
	built := Finding{What: "this program", OK: xenctrl.Built, Detail: "built with the Xen libraries", Needed: true,
		Remedy: "install libxen-dev and a C compiler, then: make build-xen"}
	if !built.OK {
		built.Detail = "built without the Xen libraries"
	}
	caps, err := os.ReadFile("/proc/xen/capabilities")
	control := Finding{What: "dom0", OK: err == nil && strings.Contains(string(caps), "control_d"),
		Detail: "this machine is a Xen control domain", Needed: true,
		Remedy: "boot this machine into Xen (package xen-system-amd64), and mount xenfs on /proc/xen"}
	if !control.OK {
		control.Detail = "this machine is not a Xen control domain"
	}
	found := []Finding{built, control, Program("xl", "install xen-utils")}
	xen, err := xenctrl.Open()
	if err != nil {
		return append(found, examineVersion(nil, "")...)
	}
	defer xen.Close()
	v, err := xen.Version()
	if err != nil {
		return append(found, examineVersion(nil, "")...)
	}
	return append(found, examineVersion(&v, buildConfig())...)
}

// buildConfig returns the options with which Xen was built, as Xen shows them, or "" if
// Xen does not show them or its program that reads them is missing.
func buildConfig() string {
	out, err := exec.Command("xenhypfs", "cat", "/buildinfo/config").Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// leftOut reports whether the options of a build say that it is without one of them.
// Kconfig writes "# OPTION is not set".
func leftOut(config, option string) bool {
	return option != "" && strings.Contains("\n"+config, "\n# "+option+" is not set\n")
}

// examineVersion examines a running Xen, or none. config is that of buildConfig.
func examineVersion(v *xenctrl.Version, config string) []Finding {
	const unknown = "unknown: Xen cannot be asked"
	altp2m := Finding{What: "altp2m", Detail: unknown,
		Remedy: "put altp2m=1 hap_2mb=0 hap_1gb=0 on Xen's command line"}
	pages := Finding{What: "small pages", Detail: unknown,
		Remedy: "put hap_2mb=0 hap_1gb=0 on Xen's command line: altp2m views are not reliable on guests with superpages"}
	if v == nil {
		return []Finding{altp2m, pages}
	}
	line := " " + v.CommandLine + " "
	altp2m.OK = strings.Contains(line, " altp2m=1 ") || strings.Contains(line, " altp2m ")
	altp2m.Detail = "Xen's command line: " + v.CommandLine
	pages.OK = !dom0.Superpages(v.CommandLine)
	pages.Detail = "Xen gives guests superpages"
	if pages.OK {
		pages.Detail = "Xen gives guests no superpages"
	}
	facts := v.Facts()
	if leftOut(config, facts.Views) {
		altp2m = Finding{What: altp2m.What, Detail: "Xen was built without " + facts.Views,
			Remedy: "build Xen with " + facts.Views + "=y; its command line cannot help"}
	}
	switch {
	case pages.OK:
	case facts.LosesAccess && facts.RestoresLarge:
		pages.Remedy += " before Xen 4.22, and a guest that was restored has them too"
	case facts.LosesAccess:
		pages.Remedy += " before Xen 4.22"
	}
	events := Finding{What: "vm_event", OK: true, Detail: "no option of Xen's build leaves it out", Needed: true}
	if leftOut(config, facts.Events) {
		events.OK, events.Detail, events.Remedy = false, "Xen was built without "+facts.Events,
			"build Xen with "+facts.Events+"=y; only the mechanism poll works without"
	}
	reads := Finding{What: "free reads", OK: !facts.LockedReads,
		Detail: "reads of a vCPU's state take no lock of all guests",
		Remedy: "make and destroy no guest while a trial runs; Xen 4.22 reads without that lock"}
	if facts.LockedReads {
		reads.Detail = "a read of a vCPU's state waits while another guest is made or destroyed"
	}
	return []Finding{{What: "Xen", OK: true, Detail: v.String()}, events, altp2m, pages, reads}
}
