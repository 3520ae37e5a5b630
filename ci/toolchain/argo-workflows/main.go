// Command workflow-controller runs the controller of Argo Workflows, unmodified, behind a main package of ours: its own
// needs a client of its server that does not compile with the k8s.io modules of the other tools here, and listens on
// every address of the machine. It takes the flags of its own that charts/argo sets, and --address; it serves no metrics.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	argo "github.com/argoproj/argo-workflows/v3"
	"github.com/argoproj/argo-workflows/v3/pkg/client/clientset/versioned"
	"github.com/argoproj/argo-workflows/v3/util/cmd"
	"github.com/argoproj/argo-workflows/v3/workflow/controller"
	"github.com/argoproj/argo-workflows/v3/workflow/events"
	"github.com/argoproj/argo-workflows/v3/workflow/metrics"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// Of the controller's own command: Workflows, their ends, pods to clean up, CronWorkflows, archive.
const (
	workers, ttlWorkers, cleanUpWorkers, cronWorkers, archiveWorkers = 32, 4, 4, 8, 8

	queriesPerSecond, burst                   = 20, 30
	leaseDuration, renewDeadline, retryPeriod = 15 * time.Second, 10 * time.Second, 5 * time.Second
)

type settings struct {
	address, configMap, image, pullPolicy, logLevel, logFormat, managedNamespace string

	namespaced bool
}

func main() {
	var s settings
	flag.StringVar(&s.address, "address", "127.0.0.1:6060", "")
	flag.StringVar(&s.configMap, "configmap", "workflow-controller-configmap", "")
	flag.StringVar(&s.image, "executor-image", "", "")
	flag.StringVar(&s.pullPolicy, "executor-image-pull-policy", "", "")
	flag.StringVar(&s.logLevel, "loglevel", "info", "")
	flag.StringVar(&s.logFormat, "log-format", "text", "")
	flag.StringVar(&s.managedNamespace, "managed-namespace", "", "")
	flag.BoolVar(&s.namespaced, "namespaced", false, "")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	cmd.SetLogLevel(s.logLevel)
	cmd.SetLogFormatter(s.logFormat)
	kubeconfig := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil)
	config, err := kubeconfig.ClientConfig()
	if err != nil {
		return err
	}
	namespace, _, err := kubeconfig.Namespace()
	if err != nil {
		return err
	}
	config = rest.AddUserAgent(config, fmt.Sprintf("argo-workflows/%s argo-controller", argo.GetVersion().Version))
	config.QPS, config.Burst = queriesPerSecond, burst
	metrics.AddMetricsTransportWrapper(ctx, config)
	managed := s.managedNamespace
	if !s.namespaced {
		managed = ""
	} else if managed == "" {
		managed = namespace
	}
	clients := kubernetes.NewForConfigOrDie(config)
	workflows := versioned.NewForConfigOrDie(config)
	made, err := controller.NewWorkflowController(
		ctx, config, clients, workflows, namespace, managed, s.image, s.pullPolicy, s.logFormat, s.configMap, false)
	if err != nil {
		return err
	}
	http.HandleFunc("/healthz", made.Healthz)
	failed := make(chan error, 1)
	go func() { failed <- http.ListenAndServe(s.address, nil) }()
	go lead(ctx, made, clients, namespace)
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// lead runs the controller for as long as it is the leader of its Deployment, and ends the program afterwards.
func lead(ctx context.Context, made *controller.WorkflowController, clients kubernetes.Interface, namespace string) {
	lock := &resourcelock.LeaseLock{
		LeaseMeta: meta.ObjectMeta{Name: "workflow-controller", Namespace: namespace},
		Client:    clients.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{
			Identity:      os.Getenv("LEADER_ELECTION_IDENTITY"),
			EventRecorder: events.NewEventRecorderManager(clients).Get(namespace),
		},
	}
	leaderelection.RunOrDie(ctx, leaderelection.LeaderElectionConfig{
		Lock: lock, LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) {
				made.Run(ctx, workers, ttlWorkers, cleanUpWorkers, cronWorkers, archiveWorkers)
			},
			OnStoppedLeading: func() { os.Exit(0) },
		},
	})
}
