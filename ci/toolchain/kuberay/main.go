// Command kuberay-operator runs KubeRay's controllers, unmodified, behind a main package of ours: its own also has
// webhooks, which the suite leaves off and which do not compile with the controller-runtime of the other tools here.
// It takes the flags of its own that charts/kuberay sets.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strings"

	configuration "github.com/ray-project/kuberay/ray-operator/apis/config/v1alpha1"
	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/batchscheduler"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/metrics"
	"github.com/ray-project/kuberay/ray-operator/controllers/ray/utils"
	_ "github.com/ray-project/kuberay/ray-operator/pkg/features"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/util/feature"
	kubernetes "k8s.io/client-go/kubernetes/scheme"
	controller "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	registry "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

func main() {
	config := configuration.Configuration{EnableLeaderElection: new(bool), QPS: new(float64), Burst: new(int)}
	gates := parse(&config)
	if err := run(controller.SetupSignalHandler(), config, gates); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// parse reads the command line and returns the feature gates that it sets.
func parse(config *configuration.Configuration) string {
	gates := flag.String("feature-gates", "", "")
	flag.StringVar(&config.MetricsAddr, "metrics-addr", configuration.DefaultMetricsAddr, "")
	flag.StringVar(&config.ProbeAddr, "health-probe-bind-address", configuration.DefaultProbeAddr, "")
	flag.BoolVar(config.EnableLeaderElection, "enable-leader-election", configuration.DefaultEnableLeaderElection, "")
	flag.StringVar(&config.LeaderElectionNamespace, "leader-election-namespace", "", "")
	flag.IntVar(&config.ReconcileConcurrency, "reconcile-concurrency", configuration.DefaultReconcileConcurrency, "")
	flag.StringVar(&config.WatchNamespace, "watch-namespace", "", "")
	flag.StringVar(&config.BatchScheduler, "batch-scheduler", "", "")
	flag.BoolVar(&config.UseKubernetesProxy, "use-kubernetes-proxy", false, "")
	flag.BoolVar(&config.EnableMetrics, "enable-metrics", false, "")
	flag.Float64Var(config.QPS, "qps", configuration.DefaultQPS, "")
	flag.IntVar(config.Burst, "burst", configuration.DefaultBurst, "")
	flag.StringVar(&config.LogStdoutEncoder, "log-stdout-encoder", "json", "")
	log := zap.Options{}
	log.BindFlags(flag.CommandLine)
	flag.Parse()
	format := zap.JSONEncoder()
	if config.LogStdoutEncoder == "console" {
		format = zap.ConsoleEncoder()
	}
	controller.SetLogger(zap.New(zap.UseFlagOptions(&log), format))
	return *gates
}

func run(ctx context.Context, config configuration.Configuration, gates string) error {
	if err := feature.DefaultMutableFeatureGate.Set(gates); err != nil {
		return err
	}
	if err := configuration.ValidateBatchSchedulerConfig(controller.Log, config); err != nil {
		return err
	}
	manager, err := newManager(config)
	if err != nil {
		return err
	}
	schedulers, err := batchscheduler.NewSchedulerManager(ctx, config, manager.GetConfig(), manager.GetClient())
	if err != nil {
		return err
	}
	schedulers.AddToScheme(manager.GetScheme())
	clusters := ray.RayClusterReconcilerOptions{BatchSchedulerManager: schedulers}
	jobs := ray.RayJobReconcilerOptions{BatchSchedulerManager: schedulers}
	if config.EnableMetrics {
		clusters.RayClusterMetricsManager = metrics.NewRayClusterMetricsManager(ctx, manager.GetClient())
		jobs.RayJobMetricsManager = metrics.NewRayJobMetricsManager(ctx, manager.GetClient())
		registry.Registry.MustRegister(clusters.RayClusterMetricsManager, jobs.RayJobMetricsManager)
		registry.Registry.MustRegister(metrics.NewRayServiceMetricsManager(ctx, manager.GetClient()))
	}
	many := config.ReconcileConcurrency
	if err := errors.NewAggregate([]error{
		ray.NewReconciler(ctx, manager, clusters).SetupWithManager(manager, many),
		ray.NewRayServiceReconciler(ctx, manager, config).SetupWithManager(manager, many),
		ray.NewRayJobReconciler(ctx, manager, jobs, config).SetupWithManager(manager, many),
		manager.AddHealthzCheck("healthz", healthz.Ping),
		manager.AddReadyzCheck("readyz", healthz.Ping),
	}); err != nil {
		return err
	}
	return manager.Start(ctx)
}

func newManager(config configuration.Configuration) (controller.Manager, error) {
	scheme := runtime.NewScheme()
	adders := runtime.NewSchemeBuilder(kubernetes.AddToScheme, rayv1.AddToScheme, configuration.AddToScheme)
	if err := adders.AddToScheme(scheme); err != nil {
		return nil, err
	}
	access, err := controller.GetConfig()
	if err != nil {
		return nil, err
	}
	access.QPS, access.Burst = float32(*config.QPS), *config.Burst
	namespaces := map[string]cache.Config{}
	for _, name := range strings.Split(config.WatchNamespace, ",") {
		if name != "" {
			namespaces[name] = cache.Config{}
		}
	}
	own := labels.SelectorFromSet(labels.Set{utils.KubernetesCreatedByLabelKey: utils.ComponentName})
	return controller.NewManager(access, controller.Options{
		Scheme: scheme,
		Cache: cache.Options{
			DefaultNamespaces: namespaces,
			ByObject:          map[client.Object]cache.ByObject{&batchv1.Job{}: {Label: own}},
		},
		Metrics:                 server.Options{BindAddress: config.MetricsAddr},
		HealthProbeBindAddress:  config.ProbeAddr,
		LeaderElection:          *config.EnableLeaderElection,
		LeaderElectionID:        "ray-operator-leader",
		LeaderElectionNamespace: config.LeaderElectionNamespace,
	})
}
