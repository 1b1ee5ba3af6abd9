package scenarios

import (
	"time"

	"hangbench/guests/beat"
	"hangbench/scenarios/inject"
	"hangbench/scenarios/sign"
)

const (
	// disturbed is how long a disturbance lasts: a multiple of every threshold and of
	// the heartbeat, so that a detector may take it for a hang.
	disturbed = 4 * time.Second
	// long is longer than the slowest of the rules about work and disks takes.
	long = 10 * time.Second
	// slowRequest is less than half of the time that a guest may wait for one request.
	slowRequest = time.Second
)

// controls are the scenarios without a fault.
func controls() []Scenario {
	return []Scenario{
		{
			ID:       "control-idle",
			Summary:  "no fault; nothing runs but the heartbeat",
			Workload: beat.Idle,
		},
		{
			ID:       "control-busy",
			Summary:  "no fault; every vCPU computes and switches tasks without a pause",
			Workload: beat.Busy,
		},
		{
			ID:       "control-uneven",
			Summary:  "no fault; the last vCPU computes and switches tasks without a pause, the others are idle",
			Workload: beat.Uneven,
		},
		{
			ID:       "control-syscalls",
			Summary:  "no fault; a task of every vCPU makes system calls without a pause",
			Workload: beat.Syscalls,
		},
		{
			ID:       "control-forks",
			Summary:  "no fault; a task of every vCPU forks, one child at a time, without a pause",
			Workload: beat.Forks,
		},
		{
			ID:       "control-memory",
			Summary:  "no fault; a task of every vCPU allocates, touches and frees memory without a pause",
			Workload: beat.Memory,
		},
		{
			ID:       "control-disk",
			Summary:  "no fault; a task of every vCPU reads and writes its disk without a pause",
			Workload: beat.Disk,
		},
		{
			ID:       "control-pages",
			Summary:  "no fault; a task of every vCPU reads through memory that fits, with swap space at hand",
			Workload: beat.Pages,
		},
		{
			ID:       "control-mutex",
			Summary:  "no fault; a task of every vCPU takes and releases rtnl_mutex",
			Workload: beat.Mutex,
		},
		{
			ID:        "control-pause",
			Summary:   "no fault; the guest is paused from outside for a while",
			Workload:  beat.Idle,
			Disturb:   inject.Paused(),
			Sign:      sign.Silent{},
			Disturbed: disturbed,
		},
		{
			ID:        "control-stopped-task",
			Summary:   "no fault; a task of every vCPU is stopped by a signal for a while",
			Workload:  beat.Sleeper,
			Disturb:   inject.Asked("tasks stopped", beat.Stop, beat.Continue),
			Sign:      sign.Stuck{},
			Disturbed: disturbed,
		},
		{
			ID:        "control-time-jump",
			Summary:   "no fault; the guest's wall clock is set an hour forward, and back later",
			Workload:  beat.Idle,
			Disturb:   inject.Asked("wall clock set", beat.Later, beat.Earlier),
			Disturbed: disturbed,
		},
		{
			ID:        "control-slow-disk",
			Summary:   "no fault; the disk takes a second for each request for a while",
			Workload:  beat.Disk,
			Disturb:   inject.SlowDisk(slowRequest),
			Sign:      sign.Slow{},
			Disturbed: long,
		},
		{
			ID:        "control-limited-bomb",
			Summary:   "no fault; a fork bomb runs for a while in a control group with a limit of few processes",
			Workload:  beat.Busy,
			Disturb:   inject.Asked("limited fork bomb", beat.Limited, beat.Kill),
			Sign:      sign.Slow{},
			Disturbed: long,
		},
		{
			ID:       "control-kernel-work",
			Summary:  "no fault; the last vCPU's task computes in the kernel for a minute at a time, and lets others run",
			Workload: beat.Kernel,
		},
	}
}
