package scenarios

import (
	"hangbench/guests/beat"
	"hangbench/guests/stress"
)

// workloads are the controls that measure what a workload gets done beside a monitor.
func workloads() []Scenario {
	return []Scenario{
		{
			ID:       "workload-null",
			Summary:  "measured: a process wakes every 10 ms and sleeps again; this is the cost of measuring itself",
			Workload: beat.Idle,
			Stress:   stress.Null,
		},
		{
			ID:       "workload-cpu",
			Summary:  "measured: stress-ng computes on every vCPU",
			Workload: beat.Idle,
			Stress:   stress.CPU,
		},
		{
			ID:       "workload-switch",
			Summary:  "measured: stress-ng switches between two processes by way of a pipe, on every vCPU",
			Workload: beat.Idle,
			Stress:   stress.Switch,
		},
		{
			ID:       "workload-fork",
			Summary:  "measured: stress-ng forks processes that end at once, on every vCPU",
			Workload: beat.Idle,
			Stress:   stress.Fork,
		},
		{
			ID:       "workload-syscall",
			Summary:  "measured: stress-ng makes system calls that do almost nothing, on every vCPU",
			Workload: beat.Idle,
			Stress:   stress.Syscall,
		},
		{
			ID:       "workload-fault",
			Summary:  "measured: stress-ng touches pages for the first time, on every vCPU",
			Workload: beat.Idle,
			Stress:   stress.Fault,
		},
		{
			ID:       "workload-disk",
			Summary:  "measured: stress-ng writes to a file on the guest's disk, past the page cache, on every vCPU",
			Workload: beat.Idle,
			Stress:   stress.Disk,
		},
	}
}
