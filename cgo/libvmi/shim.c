//go:build libvmi

#include "shim.h"

#include <stdlib.h>
#include <string.h>

struct hbvmi_registered {
	vmi_event_t ev;
	uintptr_t handle;
	uint16_t view; /* memory event: the view that it was registered in */
};

static int live;

int hbvmi_live(void) { return __atomic_load_n(&live, __ATOMIC_SEQ_CST); }

status_t hbvmi_open(const char *name, uint64_t id, int events, vmi_instance_t *vmi, vmi_init_error_t *error)
{
	const void *domain = name ? (const void *)name : (const void *)&id;
	uint64_t flags = (name ? VMI_INIT_DOMAINNAME : VMI_INIT_DOMAINID) | (events ? VMI_INIT_EVENTS : 0);

	return vmi_init(vmi, VMI_XEN, domain, flags, NULL, error);
}

status_t hbvmi_init_os(vmi_instance_t vmi, char *config, vmi_init_error_t *error)
{
	if (vmi_init_paging(vmi, 0) == VMI_PM_UNKNOWN) {
		*error = VMI_INIT_ERROR_PAGING;
		return VMI_FAILURE;
	}
	return vmi_init_os(vmi, VMI_CONFIG_STRING, config, error) == VMI_OS_LINUX ? VMI_SUCCESS : VMI_FAILURE;
}

#if VMI_EVENTS_VERSION >= 9

status_t hbvmi_next_gfn(vmi_instance_t vmi, uint64_t *gfn)
{
	*gfn = vmi_get_next_available_gfn(vmi);
	return *gfn ? VMI_SUCCESS : VMI_FAILURE;
}

status_t hbvmi_alloc_gfn(vmi_instance_t vmi, uint64_t gfn) { return vmi_alloc_gfn(vmi, gfn); }

status_t hbvmi_free_gfn(vmi_instance_t vmi, uint64_t gfn) { return vmi_free_gfn(vmi, gfn); }

#else

status_t hbvmi_next_gfn(vmi_instance_t vmi, uint64_t *gfn) { return VMI_FAILURE; }

status_t hbvmi_alloc_gfn(vmi_instance_t vmi, uint64_t gfn) { return VMI_FAILURE; }

status_t hbvmi_free_gfn(vmi_instance_t vmi, uint64_t gfn) { return VMI_FAILURE; }

#endif

status_t hbvmi_regs_of(vmi_instance_t vmi, unsigned long vcpu, hbvmi_regs *o)
{
	registers_t r;
	const x86_registers_t *x = &r.x86;

	memset(&r, 0, sizeof(r));
	if (vmi_get_vcpuregs(vmi, &r, vcpu) != VMI_SUCCESS)
		return VMI_FAILURE;
	*o = (hbvmi_regs){
		.rax = x->rax, .rbx = x->rbx, .rcx = x->rcx, .rdx = x->rdx,
		.rsi = x->rsi, .rdi = x->rdi, .rbp = x->rbp, .rsp = x->rsp,
		.r8 = x->r8, .r9 = x->r9, .r10 = x->r10, .r11 = x->r11,
		.r12 = x->r12, .r13 = x->r13, .r14 = x->r14, .r15 = x->r15,
		.rip = x->rip, .rflags = x->rflags, .cr0 = x->cr0, .cr2 = x->cr2, .cr3 = x->cr3, .cr4 = x->cr4,
		.efer = x->msr_efer, .star = x->msr_star, .lstar = x->msr_lstar,
		.fs_base = x->fs_base, .gs_base = x->gs_base, .shadow_gs = x->shadow_gs,
		.idtr_base = x->idtr_base, .ss_arbytes = x->ss_arbytes,
	};
	return VMI_SUCCESS;
}

status_t hbvmi_read(vmi_instance_t vmi, uint32_t how, uint64_t addr, int32_t pid, const char *symbol,
		    size_t n, void *b, size_t *done)
{
	access_context_t c;

	memset(&c, 0, sizeof(c));
#ifdef ACCESS_CONTEXT_VERSION
	c.version = ACCESS_CONTEXT_VERSION;
#endif
	c.translate_mechanism = how;
	if (how == VMI_TM_KERNEL_SYMBOL) {
		c.ksym = symbol;
	} else {
		c.addr = addr;
		c.pid = pid;
	}
	return vmi_read(vmi, &c, n, b, done);
}

static event_response_t called(vmi_instance_t vmi, vmi_event_t *ev)
{
	const hbvmi_registered *e = (const hbvmi_registered *)ev;
	const x86_registers_t *regs = ev->x86_regs;
	hbvmi_reply reply = { 0 };
	hbvmi_event x = { .type = ev->type, .vcpu = ev->vcpu_id, .view = ev->slat_id };

	(void)vmi;
	if (regs) {
		x.rip = regs->rip;
		x.rsp = regs->rsp;
		x.rflags = regs->rflags;
		x.cr3 = regs->cr3;
	}
	switch (ev->type) {
	case VMI_EVENT_MEMORY:
		x.gfn = ev->mem_event.gfn;
		x.offset = ev->mem_event.offset;
		x.gla = ev->mem_event.gla;
		x.access = ev->mem_event.out_access;
		/* Without an address LibVMI leaves gla_valid and gptw as they were. */
		x.gla_valid = ev->mem_event.gla && ev->mem_event.gla_valid;
		x.gptw = x.gla_valid && ev->mem_event.gptw;
		break;
	case VMI_EVENT_REGISTER:
		x.reg = (uint32_t)ev->reg_event.reg;
		x.value = ev->reg_event.value;
		x.previous = ev->reg_event.previous;
		break;
	case VMI_EVENT_SINGLESTEP:
		x.gfn = ev->ss_event.gfn;
		x.offset = ev->ss_event.offset;
		x.gla = ev->ss_event.gla;
		break;
	case VMI_EVENT_INTERRUPT:
		x.gfn = ev->interrupt_event.gfn;
		x.offset = ev->interrupt_event.offset;
		x.gla = ev->interrupt_event.gla;
		x.insn_len = ev->interrupt_event.insn_length;
		break;
	}
	hbvmiGoEvent(e->handle, &x, &reply);
	/* LibVMI has set slat_id to the vCPU's view. It clears a memory event in the
	   view that slat_id names, so restore the one of the registration. */
	ev->slat_id = reply.flags & VMI_EVENT_RESPONSE_SLAT_ID ? reply.view : e->view;
	ev->next_slat_id = reply.next_view;
	if (ev->type == VMI_EVENT_INTERRUPT)
		ev->interrupt_event.reinject = reply.reinject;
	return reply.flags;
}

static void cleared(vmi_event_t *ev, status_t rc)
{
	/* Go frees the event. */
	hbvmiGoCleared(((hbvmi_registered *)ev)->handle, rc == VMI_SUCCESS);
}

status_t hbvmi_register(vmi_instance_t vmi, const hbvmi_spec *s, uintptr_t handle, hbvmi_registered **out)
{
	hbvmi_registered *e = calloc(1, sizeof(*e));

	if (!e)
		return VMI_FAILURE;
	e->handle = handle;
	e->ev.version = VMI_EVENTS_VERSION;
	e->ev.type = s->type;
	e->ev.callback = called;
	switch (s->type) {
	case VMI_EVENT_MEMORY:
		e->ev.slat_id = e->view = s->view;
		e->ev.mem_event.gfn = s->generic ? ~0ULL : s->gfn;
		e->ev.mem_event.in_access = s->access;
		e->ev.mem_event.generic = s->generic;
		break;
	case VMI_EVENT_REGISTER:
		e->ev.reg_event.reg = s->reg;
		e->ev.reg_event.in_access = VMI_REGACCESS_W;
		e->ev.reg_event.onchange = 1;
		break;
	case VMI_EVENT_SINGLESTEP:
		e->ev.ss_event.vcpus = s->vcpus;
		e->ev.ss_event.enable = s->enable;
		break;
	case VMI_EVENT_INTERRUPT:
		e->ev.interrupt_event.intr = INT3;
		e->ev.interrupt_event.reinject = -1;
		break;
	}
	if (vmi_register_event(vmi, &e->ev) != VMI_SUCCESS) {
		free(e);
		return VMI_FAILURE;
	}
	__atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST);
	*out = e;
	return VMI_SUCCESS;
}

status_t hbvmi_clear(vmi_instance_t vmi, hbvmi_registered *e)
{
	e->ev.slat_id = e->view;
	return vmi_clear_event(vmi, &e->ev, cleared);
}

status_t hbvmi_stop_step(vmi_instance_t vmi, hbvmi_registered *e, uint32_t vcpu)
{
	vmi_event_t *ev = &e->ev;
	uint32_t all = ev->ss_event.vcpus;
	status_t rc = vmi_stop_single_step_vcpu(vmi, ev, vcpu), again;

	/* vmi_stop_single_step_vcpu has removed the handler, which a step in the ring
	   still needs. Register it again, for this vCPU only: the others have it. */
	ev->ss_event.vcpus = 1u << vcpu;
	ev->ss_event.enable = 0;
	again = vmi_register_event(vmi, ev);
	ev->ss_event.vcpus = all;
	return rc == VMI_SUCCESS ? again : rc;
}

void hbvmi_free(hbvmi_registered *e)
{
	free(e);
	__atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST);
}
