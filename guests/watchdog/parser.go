package watchdog

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	// maxLine is how much of a line is looked at. printk's own limit is 1024.
	maxLine = 1024
	// maxFindings is how many reports of a detector are kept; the first ones.
	maxFindings = 16
	// maxVCPU bounds what is believed to be a vCPU's number.
	maxVCPU = 4095
	// afterStall is how many lines behind the head of an RCU stall may name its vCPU.
	afterStall = 8
)

// Mark begins the line with which PID 1 says how the watchdogs are armed.
const Mark = "hangbench-watchdogs:"

// Parser reads a guest's console. The zero value is one that has read nothing.
type Parser struct {
	line     []byte
	skip     bool // the rest of a line that was too long
	findings []Finding
	dropped  int
	stall    int // lines left in which a stall's vCPU may be named
	armed    Armed
	clock    Clock
}

// Feed takes what has arrived at an instant, on any clock.
func (p *Parser) Feed(b []byte, arrival int64) {
	for len(b) > 0 {
		part, rest, ended := bytes.Cut(b, []byte{'\n'})
		b = rest
		if room := maxLine - len(p.line); !p.skip {
			p.line = append(p.line, part[:min(room, len(part))]...)
			p.skip = len(part) > room
		}
		if ended {
			p.one(string(p.line), arrival)
			p.line, p.skip = p.line[:0], false
		}
	}
}

// Findings returns the reports so far, in the order of the console.
func (p *Parser) Findings() []Finding { return p.findings }

// Dropped is how many reports more there were of detectors that had many.
func (p *Parser) Dropped() int { return p.dropped }

// Armed returns how the watchdogs are armed, and nil before the guest has said so.
func (p *Parser) Armed() Armed { return p.armed }

// Clock returns how the kernel's log and the clock of Feed go together.
func (p *Parser) Clock() Clock { return p.clock }

// Forget forgets the reports and how the watchdogs were armed, not the clock.
func (p *Parser) Forget() { p.findings, p.dropped, p.stall, p.armed = nil, 0, 0, nil }

// stamp is what printk.time=1 writes before each line, and what PRINTK_CALLER
// adds.
var stamp = regexp.MustCompile(`^\[ *(\d{1,10})\.(\d{6})\](?:\[ *[TC]\d+\])? ?`)

// reports are the first lines of the kernel's reports. The names of the groups
// say what they hold.
var reports = []struct {
	detector Detector
	form     *regexp.Regexp
}{
	// kernel/watchdog.c, watchdog_timer_fn and watchdog_hardlockup_check
	{SoftLockup, regexp.MustCompile(`^watchdog: BUG: soft lockup - CPU#(?P<vcpu>\d+) stuck for \d+s! \[(?P<task>.+)\]`)},
	{HardLockup, regexp.MustCompile(`^(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu (?P<vcpu>\d+)`)},
	// kernel/rcu/tree_stall.h and tree_exp.h
	{RCUStall, regexp.MustCompile(`^rcu: INFO: \S+ (?:self-detected stall on CPU|detected stalls on CPUs/tasks|detected expedited stalls on CPUs/tasks)`)},
	// kernel/hung_task.c, check_hung_task
	{HungTask, regexp.MustCompile(`^INFO: task (?P<task>.+:\d+) (?:<\w+> )?blocked (?:in I/O wait )?for more than \d+ seconds`)},
	// kernel/workqueue.c, wq_watchdog_timer_fn
	{Workqueue, regexp.MustCompile(`^BUG: workqueue lockup - pool (?:cpus=(?P<vcpu>\d+)\b)?`)},
	// kernel/panic.c, panic
	{Panic, regexp.MustCompile(`^Kernel panic - not syncing: `)},
}

// stallVCPU is a line of an RCU stall that names a vCPU, as in "rcu: 	1-...!:".
var stallVCPU = regexp.MustCompile(`^(?:rcu: )?[ \t]+(\d+)-[-.?!OoN0-9]{3,8}:`)

func (p *Parser) one(line string, arrival int64) {
	line = strings.TrimRight(line, "\r")
	m := stamp.FindStringSubmatch(line)
	if m == nil {
		return // of userland, or the rest of a line that was torn
	}
	text := line[len(m[0]):]
	sec, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || sec > 1<<32 { // some hundred years
		return
	}
	usec, _ := strconv.ParseInt(m[2], 10, 64) // six digits
	printk := time.Duration(sec)*time.Second + time.Duration(usec)*time.Microsecond
	p.clock.add(printk, arrival)
	if rest, ok := strings.CutPrefix(text, Mark); ok {
		if a, ok := parseArmed(rest); ok {
			p.armed = a
		}
		return
	}
	for _, r := range reports {
		m := r.form.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		f := Finding{Detector: r.detector, Printk: printk, Arrival: arrival, VCPU: -1, Text: printable(text)}
		for i, name := range r.form.SubexpNames() {
			switch name {
			case "vcpu":
				f.VCPU = vcpu(m[i])
			case "task":
				f.Task = printable(m[i])
			}
		}
		p.keep(f)
		return
	}
	if p.stall == 0 {
		return
	}
	p.stall--
	if m := stallVCPU.FindStringSubmatch(text); m != nil {
		p.findings[len(p.findings)-1].VCPU = vcpu(m[1])
		p.stall = 0
	}
}

func (p *Parser) keep(f Finding) {
	n := 0
	for i := range p.findings {
		if p.findings[i].Detector == f.Detector {
			n++
		}
	}
	p.stall = 0
	if n >= maxFindings {
		p.dropped++
		return
	}
	p.findings = append(p.findings, f)
	if f.Detector == RCUStall {
		p.stall = afterStall
	}
}

func vcpu(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > maxVCPU {
		return -1
	}
	return n
}

// printable replaces what a terminal or a file of lines would take amiss.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
