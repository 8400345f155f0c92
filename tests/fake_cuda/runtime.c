/* A CUDA runtime in which one H100 is there and everything succeeds: memory is the host's, kernels do nothing.
   In front of the real one by LD_PRELOAD; see stub.py. */
#define _GNU_SOURCE
#include <cuda_runtime_api.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY ((size_t)80 * 1000000000)
#define CAPABILITY 90
#define OK(declaration) cudaError_t declaration { return cudaSuccess; }

static _Thread_local int current;
static long handles = 1; /* of streams and events: any two differ */

cudaError_t cudaGetDeviceCount(int*n){ *n=1; return cudaSuccess; }
cudaError_t cudaGetDevice(int*d){ *d = current; return cudaSuccess; }
cudaError_t cudaSetDevice(int d){current = d; return cudaSuccess; }
#undef cudaGetDeviceProperties
cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp*p,int d) {
  memset(p,0,sizeof*p);
  strcpy(p->name, "NVIDIA H100 80GB HBM3");
  p->major=CAPABILITY / 10;
  p->minor=CAPABILITY % 10;
  p->totalGlobalMem=MEMORY;
  p->multiProcessorCount=132;
  p->warpSize=32;
  p->maxThreadsPerBlock=1024;
  p->maxThreadsPerMultiProcessor=2048;
  p->sharedMemPerBlock=49152;
  p->sharedMemPerBlockOptin=232448;
  p->sharedMemPerMultiprocessor=233472;
  p->regsPerMultiprocessor=65536;
  p->regsPerBlock=65536;
  p->maxGridSize[0]=2147483647;
  p->maxGridSize[1]=p->maxGridSize[2]=65535;
  p->maxThreadsDim[0]=p->maxThreadsDim[1]=1024;
  p->maxThreadsDim[2]=64;
  p->l2CacheSize=50<<20;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int*v,enum cudaDeviceAttr a,int d) {
  if(a==cudaDevAttrComputeCapabilityMajor)*v=CAPABILITY / 10;
  else if(a==cudaDevAttrComputeCapabilityMinor)*v=CAPABILITY % 10;
  else if(a==cudaDevAttrMultiProcessorCount)*v=132;
  else *v=0;
  return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int*v){ *v=13000; return cudaSuccess; }
cudaError_t cudaDeviceCanAccessPeer(int*v,int a,int b){ *v=1; return cudaSuccess; }
OK(cudaDeviceEnablePeerAccess(int a,unsigned b))
cudaError_t cudaDeviceGetStreamPriorityRange(int*a,int*b){ *a=0; *b=-5; return cudaSuccess; }
OK(cudaDeviceSynchronize(void))
cudaError_t cudaDeviceGetPCIBusId(char*s,int n,int d){snprintf(s,n,"0000:00:%02x.0",d); return cudaSuccess; }
OK(cudaGetLastError(void))
OK(cudaPeekAtLastError(void))
cudaError_t cudaStreamCreateWithPriority(cudaStream_t*s,unsigned f,int p) {
  *s=(cudaStream_t)(0x10000+16*(handles++));
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t*s,unsigned f){ *s=(cudaStream_t)(0x10000+16*(handles++)); return cudaSuccess; }
OK(cudaStreamDestroy(cudaStream_t s))
OK(cudaStreamQuery(cudaStream_t s))
OK(cudaStreamSynchronize(cudaStream_t s))
OK(cudaStreamWaitEvent(cudaStream_t s,cudaEvent_t e,unsigned f))
cudaError_t cudaStreamIsCapturing(cudaStream_t s,enum cudaStreamCaptureStatus*c) {
  *c=cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaEventCreate(cudaEvent_t*e){ *e=(cudaEvent_t)(0x900000+16*(handles++)); return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t*e,unsigned f){ *e=(cudaEvent_t)(0x900000+16*(handles++)); return cudaSuccess; }
OK(cudaEventRecord(cudaEvent_t e,cudaStream_t s))
OK(cudaEventRecordWithFlags(cudaEvent_t e,cudaStream_t s,unsigned f))
OK(cudaEventQuery(cudaEvent_t e))
OK(cudaEventSynchronize(cudaEvent_t e))
OK(cudaEventDestroy(cudaEvent_t e))
cudaError_t cudaEventElapsedTime(float*f,cudaEvent_t a,cudaEvent_t b){ *f=1.0f; return cudaSuccess; }
cudaError_t cudaMalloc(void**p,size_t n){ *p=aligned_alloc(512,(n+511)/512*512); return *p?0:2; }
cudaError_t cudaFree(void*p){free(p); return cudaSuccess; }
cudaError_t cudaHostAlloc(void**p,size_t n,unsigned f){ *p=aligned_alloc(4096,(n+4095)/4096*4096); return *p?0:2; }
cudaError_t cudaFreeHost(void*p){free(p); return cudaSuccess; }
cudaError_t cudaMemGetInfo(size_t*a,size_t*b){ *b=MEMORY; *a=*b; return cudaSuccess; }
cudaError_t cudaMemcpyAsync(void*d,const void*s,size_t n,enum cudaMemcpyKind k,cudaStream_t st) {
  memcpy(d,s,n);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void*d,const void*s,size_t n,enum cudaMemcpyKind k){memcpy(d,s,n); return cudaSuccess; }
cudaError_t cudaMemsetAsync(void*d,int v,size_t n,cudaStream_t s){memset(d,v,n); return cudaSuccess; }
cudaError_t cudaMemset(void*d,int v,size_t n){memset(d,v,n); return cudaSuccess; }
OK(cudaLaunchKernel(const void*f,dim3 g,dim3 b,void**a,size_t m,cudaStream_t s))
OK(cudaLaunchKernelExC(const cudaLaunchConfig_t*c,const void*f,void**a))
cudaError_t cudaFuncGetAttributes(struct cudaFuncAttributes*a,const void*f) {
  memset(a,0,sizeof*a);
  a->maxThreadsPerBlock=1024;
  a->numRegs=32;
  a->binaryVersion=90;
  a->ptxVersion=90;
  return cudaSuccess;
}
OK(cudaFuncSetAttribute(const void*f,enum cudaFuncAttribute a,int v))
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int*n,const void*f,int b,size_t s,unsigned fl) {
  *n=2;
  return cudaSuccess;
}
cudaError_t cudaGetDriverEntryPointByVersion(const char*s,void**p,unsigned v,unsigned long long f,enum cudaDriverEntryPointQueryResult*r) {
  void*h=dlopen("libcuda.so.1",RTLD_NOW);
  *p=h?dlsym(h,s):0;
  if(r)*r=*p?cudaDriverEntryPointSuccess:cudaDriverEntryPointSymbolNotFound;
  return cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int*v){ *v=13000; return cudaSuccess; }
OK(cudaThreadExchangeStreamCaptureMode(enum cudaStreamCaptureMode*m))
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t s,enum cudaStreamCaptureStatus*c,unsigned long long*id,cudaGraph_t*g,const cudaGraphNode_t**d,const cudaGraphEdgeData**e,size_t*n) {
  *c=cudaStreamCaptureStatusNone;
  return cudaSuccess;
}
cudaError_t cudaPointerGetAttributes(struct cudaPointerAttributes*a,const void*p) {
  memset(a,0,sizeof*a);
  a->type=cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

