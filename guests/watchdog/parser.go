package watchdog

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"

	"hangbench/results/printable"
)

const (
	// maxLine is the number of bytes of a line that are read. printk's own limit is 1024.
	maxLine = 1024
	// maxFindings is the number of reports of one detector that are kept: the first ones.
	maxFindings = 16
	// maxVCPU is the largest vCPU number that is accepted.
	maxVCPU = 4095
	// afterStall is the number of lines after the first one of an RCU stall in which its
	// vCPU may be named.
	afterStall = 8
)

// mark is the beginning of the line in which PID 1 logs how the watchdogs are armed.
const mark = "hangbench-watchdogs:"

// Parser reads a guest's console. The zero value is ready to use.
type Parser struct {
	line     []byte
	skip     bool // ignore the rest of a line that is too long
	findings []Finding
	stall    int // number of further lines in which a stall's vCPU may be named
	armed    Armed
	clock    Clock
}

// Feed reads the next bytes of the console. arrival is the time in ns at which they
// arrived, on any clock.
func (p *Parser) Feed(b []byte, arrival int64) {
	for len(b) > 0 {
		part, rest, ended := bytes.Cut(b, []byte{'\n'})
		b = rest
		if room := maxLine - len(p.line); !p.skip {
			p.line = append(p.line, part[:min(room, len(part))]...)
			p.skip = len(part) > room
		}
		if ended {
			p.parse(string(p.line), arrival)
			p.line, p.skip = p.line[:0], false
		}
	}
}

// Findings returns the reports so far, in the order of the console.
func (p *Parser) Findings() []Finding { return p.findings }

// Armed returns the armed watchdogs, or nil before the guest has logged them.
func (p *Parser) Armed() Armed { return p.armed }

// Clock returns the relation between the kernel's log and the clock of Feed.
func (p *Parser) Clock() Clock { return p.clock }

// stamp matches the time before each line of the log (printk.time=1), with or without
// the caller (PRINTK_CALLER).
var stamp = regexp.MustCompile(`^\[ *(\d{1,10})\.(\d{6})\](?:\[ *[TC]\d+\])? ?`)

// reports are the first lines of the kernel's reports. The groups are named after the
// fields of Finding.
var reports = []struct {
	detector Detector
	form     *regexp.Regexp
}{
	// kernel/watchdog.c, watchdog_timer_fn and watchdog_hardlockup_check
	{SoftLockup, regexp.MustCompile(
		`^watchdog: BUG: soft lockup - CPU#(?P<vcpu>\d+) stuck for \d+s! \[(?P<task>.+)\]`)},
	{HardLockup, regexp.MustCompile(
		`^(?:NMI )?watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP on cpu (?P<vcpu>\d+)`)},
	// kernel/rcu/tree_stall.h and tree_exp.h
	{RCUStall, regexp.MustCompile(`^rcu: INFO: \S+ (?:self-detected stall on CPU|` +
		`detected stalls on CPUs/tasks|detected expedited stalls on CPUs/tasks)`)},
	// kernel/hung_task.c, check_hung_task
	{HungTask, regexp.MustCompile(
		`^INFO: task (?P<task>.+:\d+) (?:<\w+> )?blocked (?:in I/O wait )?for more than \d+ seconds`)},
	// kernel/workqueue.c, wq_watchdog_timer_fn
	{Workqueue, regexp.MustCompile(`^BUG: workqueue lockup - pool (?:cpus=(?P<vcpu>\d+)\b)?`)},
	// kernel/panic.c, panic
	{Panic, regexp.MustCompile(`^Kernel panic - not syncing: `)},
}

// stallVCPU matches the line of an RCU stall that names a vCPU, such as "rcu: 	1-...!:".
var stallVCPU = regexp.MustCompile(`^(?:rcu: )?[ \t]+(\d+)-[-.?!OoN0-9]{3,8}:`)

// parse reads one line.
func (p *Parser) parse(line string, arrival int64) {
	line = strings.TrimRight(line, "\r")
	m := stamp.FindStringSubmatch(line)
	if m == nil {
		return // of userland, or a part of a line
	}
	text := line[len(m[0]):]
	sec, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || sec > 1<<32 { // about 136 years
		return
	}
	usec, _ := strconv.ParseInt(m[2], 10, 64) // six digits
	printk := time.Duration(sec)*time.Second + time.Duration(usec)*time.Microsecond
	p.clock.add(printk, arrival)
	if rest, ok := strings.CutPrefix(text, mark); ok {
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
		f := Finding{Detector: r.detector, Printk: printk, Arrival: arrival, VCPU: -1, Text: printable.Line(text)}
		for i, name := range r.form.SubexpNames() {
			switch name {
			case "vcpu":
				f.VCPU = vcpu(m[i])
			case "task":
				f.Task = printable.Line(m[i])
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

// keep adds a finding, unless there are many of the detector already.
func (p *Parser) keep(f Finding) {
	n := 0
	for i := range p.findings {
		if p.findings[i].Detector == f.Detector {
			n++
		}
	}
	p.stall = 0
	if n >= maxFindings {
		return
	}
	p.findings = append(p.findings, f)
	if f.Detector == RCUStall {
		p.stall = afterStall
	}
}

// vcpu returns the number of a vCPU, or -1 if it is out of range.
func vcpu(digits string) int {
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > maxVCPU {
		return -1
	}
	return n
}
