// Command karpenter runs the AWS provider of Karpenter with EC2's fleet calls answered in process: the controllers of its
// KWOK build (github.com/aws/karpenter-provider-aws/kwok), unmodified, behind a main package of ours. That build's own
// opens its ports for metrics and health on every address of the machine. Here METRICS_PORT=0 takes a free port of
// 127.0.0.1, which answers to the bearer token METRICS_TOKEN alone, and HEALTH_PROBE_PORT=0 opens none. Before it launches a
// fleet it asks AWS_ENDPOINT_URL how much of it the account's quotas allow, which that build takes for all. An instance that
// no claim names yet stays young while a claim without one is there, so that a slow machine does not have it collected.
package main

import (
	"context"
	"crypto/subtle"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/go-logr/logr"
	"github.com/patrickmn/go-cache"
	"k8s.io/client-go/rest"
	controllerruntime "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	karpenter "sigs.k8s.io/karpenter/pkg/apis/v1"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/metrics"
	"sigs.k8s.io/karpenter/pkg/cloudprovider/overlay"
	core "sigs.k8s.io/karpenter/pkg/controllers"
	"sigs.k8s.io/karpenter/pkg/controllers/state"
	coreoperator "sigs.k8s.io/karpenter/pkg/operator"
	"sigs.k8s.io/karpenter/pkg/operator/options"

	"github.com/aws/karpenter-provider-aws/kwok/cloudprovider"
	kwokec2 "github.com/aws/karpenter-provider-aws/kwok/ec2"
	"github.com/aws/karpenter-provider-aws/kwok/operator"
	v1 "github.com/aws/karpenter-provider-aws/pkg/apis/v1"
	"github.com/aws/karpenter-provider-aws/pkg/controllers"
	"github.com/aws/karpenter-provider-aws/pkg/providers/instance"
)

const anyPort = ":0"

func main() {
	controllerruntime.NewManager = func(config *rest.Config, wanted manager.Options) (manager.Manager, error) {
		if wanted.Metrics.BindAddress == anyPort {
			wanted.Metrics.BindAddress = "127.0.0.1:0"
			wanted.Metrics.FilterProvider = onlyWith("Bearer " + os.Getenv("METRICS_TOKEN"))
		}
		if wanted.HealthProbeBindAddress == anyPort {
			wanted.HealthProbeBindAddress = "0" // none, to controller-runtime
		}
		return manager.New(config, wanted)
	}
	ctx, op := operator.NewOperator(coreoperator.NewOperator())
	kube := op.GetClient()
	op.InstanceProvider = instance.NewDefaultProvider(
		ctx, op.Config.Region, op.EventRecorder, fleets{op.EC2API, kube}, op.UnavailableOfferingsCache, op.SubnetProvider,
		op.LaunchTemplateProvider, op.CapacityReservationProvider, op.PlacementGroupProvider, op.ZonalShiftProvider,
		cache.New(cache.NoExpiration, cache.NoExpiration),
	)
	bare := metrics.Decorate(cloudprovider.New(
		op.InstanceTypesProvider, op.InstanceProvider, op.EventRecorder, kube, op.AMIProvider,
		op.SecurityGroupProvider, op.CapacityReservationProvider, op.PlacementGroupProvider, op.InstanceTypeStore,
	))
	provider := overlay.Decorate(bare, kube, op.InstanceTypeStore)
	cluster := state.NewCluster(op.Clock, kube, provider)
	if options.FromContext(ctx).FeatureGates.ReservedCapacity {
		v1.CapacityReservationsEnabled = true
	}
	go func() {
		<-op.Elected()
		op.EC2API.StartBackupThread(ctx)
	}()
	go func() {
		<-op.Elected()
		op.EC2API.StartKillNodeThread(ctx)
	}()
	go func() {
		<-op.Elected()
		op.EC2API.ReadBackup(ctx)
	}()
	queue := ""
	op.WithControllers(ctx, core.NewControllers(
		ctx, op.Manager, op.Clock, kube, op.EventRecorder, provider, bare, cluster, op.InstanceTypeStore,
	)...).WithControllers(ctx, controllers.NewControllers(
		ctx, op.Manager, op.Config, op.Clock, op.EC2API, kube, op.EventRecorder, op.UnavailableOfferingsCache,
		op.SSMCache, op.ValidationCache, op.RecreationCache, provider, op.SubnetProvider, op.SecurityGroupProvider,
		op.InstanceProfileProvider, op.InstanceProvider, op.PricingProvider, op.AMIProvider, op.LaunchTemplateProvider,
		op.VersionProvider, op.InstanceTypesProvider, op.CapacityReservationProvider, op.PlacementGroupProvider,
		op.AMIResolver, op.ZonalShiftProvider, op.InstanceStatusProvider, &queue,
	)...).Start(ctx)
}

// fleets launches as many instances of a fleet as AWS_ENDPOINT_URL grants.
type fleets struct {
	*kwokec2.Client
	cluster client.Client
}

func (f fleets) CreateFleet(
	ctx context.Context, input *ec2.CreateFleetInput, options ...func(*ec2.Options),
) (*ec2.CreateFleetOutput, error) {
	granted, err := f.Client.Client.CreateFleet(ctx, input, options...)
	if err != nil || len(granted.Instances) == 0 {
		return granted, err
	}
	count := int32(len(granted.Instances[0].InstanceIds))
	target, allowed := *input.TargetCapacitySpecification, *input
	target.TotalTargetCapacity, allowed.TargetCapacitySpecification = &count, &target
	launched, err := f.Client.CreateFleet(ctx, &allowed, options...)
	if launched != nil {
		launched.Errors = append(launched.Errors, granted.Errors...)
	}
	return launched, err
}

// DescribeInstances keeps instances young that may be those of claims that have none yet. Karpenter ends an instance that no
// claim names 30 s after its launch. On EKS the name is there long before; here API server, Karpenter and all nodes share
// the cores of one machine, where hundreds of launches at once can take longer.
func (f fleets) DescribeInstances(
	ctx context.Context, input *ec2.DescribeInstancesInput, options ...func(*ec2.Options),
) (*ec2.DescribeInstancesOutput, error) {
	described, err := f.Client.DescribeInstances(ctx, input, options...)
	claims := karpenter.NodeClaimList{}
	if err != nil || len(input.InstanceIds) > 0 { // about instances that a claim names
		return described, err
	}
	if f.cluster.List(ctx, &claims) != nil {
		return described, nil
	}
	named, awaiting := map[string]bool{}, false
	for _, claim := range claims.Items {
		_, instance, _ := strings.Cut(claim.Status.ProviderID, "/i-")
		named["i-"+instance] = true
		awaiting = awaiting || (claim.Status.ProviderID == "" && claim.DeletionTimestamp.IsZero())
	}
	if !awaiting {
		return described, nil
	}
	now := time.Now()
	for _, reservation := range described.Reservations {
		for i := range reservation.Instances {
			if !named[*reservation.Instances[i].InstanceId] {
				reservation.Instances[i].LaunchTime = &now
			}
		}
	}
	return described, nil
}

// onlyWith returns what lets a request pass that has this Authorization header.
func onlyWith(authorization string) func(*rest.Config, *http.Client) (server.Filter, error) {
	return func(*rest.Config, *http.Client) (server.Filter, error) {
		return func(_ logr.Logger, handler http.Handler) (http.Handler, error) {
			return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
				given := request.Header.Get("Authorization")
				if subtle.ConstantTimeCompare([]byte(given), []byte(authorization)) != 1 {
					http.Error(writer, "not for you", http.StatusUnauthorized)
					return
				}
				handler.ServeHTTP(writer, request)
			}), nil
		}, nil
	}
}
